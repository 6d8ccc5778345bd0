# Sourced by the scripts that run client suites: runs one suite on a stand of its own and adds up what it says.
# shellcheck shell=bash

export CARGO_TERM_COLOR=never PYTHONDONTWRITEBYTECODE=1
if [ -z "${TIDEGATE_BIN:-}" ] || [ -z "${FAKES_BIN:-}" ]; then
    (cd "$ROOT" && cargo build --locked --workspace --bins --features tidegate/failpoints) >&2
    export TIDEGATE_BIN=$CARGO_TARGET_DIR/debug/tidegate FAKES_BIN=$CARGO_TARGET_DIR/debug/fakes
fi
PASSED=0
FAILED=0

# counted NAME PASSED FAILED CODE: a suite that ended badly or ran nothing is at least one failure.
counted() {
    local name=$1 good=${2:-0} bad=${3:-0} code=$4
    if [ "$bad" -eq 0 ] && { [ "$code" -ne 0 ] || [ "$good" -eq 0 ]; }; then bad=1; fi
    PASSED=$((PASSED + good))
    FAILED=$((FAILED + bad))
    say "$name: $good passed, $bad failed"
}

# pytest_suite NAME FOLDER PYTHON STAND_OPTIONS...
pytest_suite() {
    local name=$1 folder=$2 python=$3 log code=0
    shift 3
    log=$(mktemp)
    python3 "$ROOT/conformance/stand.py" "$@" -- "$python" -m pytest -c "$folder/pytest.ini" "$folder" >"$log" 2>&1 || code=$?
    [ "$code" -eq 0 ] || tail -n 150 "$log" >&2
    counted "$name" "$(grep -oE '[0-9]+ passed' "$log" | tail -n 1 | cut -d' ' -f1)" \
        "$(grep -oE '[0-9]+ (failed|error)' "$log" | awk '{n += $1} END {print n + 0}')" "$code"
    rm -f "$log"
}

python_suite() {
    local version=$1 python
    python=$(venv "openai-$version" "openai==$version" "pytest==$PYTEST" "pytest-timeout==$PYTEST_TIMEOUT")
    pytest_suite "openai for Python $version" "$ROOT/conformance/python" "$python"
}

node_suite() {
    local version=$1 node=${2:-} log code=0 runner=(node)
    need node "install Node 20 or newer"
    STAND_NODE_PACKAGES=$(node_modules "openai-$version" "openai@$version" "zod@$ZOD")
    export STAND_NODE_PACKAGES
    [ -z "$node" ] || runner=(npx --yes --package "node@$node" -- node)
    log=$(mktemp)
    python3 "$ROOT/conformance/stand.py" -- "${runner[@]}" --test --test-reporter=tap --test-timeout=60000 \
        "$ROOT/conformance/node/answers.test.mjs" "$ROOT/conformance/node/failures.test.mjs" >"$log" 2>&1 || code=$?
    [ "$code" -eq 0 ] || grep -vE '^ *(duration_ms|type):' "$log" | tail -n 150 >&2
    counted "openai for Node $version${node:+ on Node $node}" "$(awk '/^# pass /{n=$3} END {print n + 0}' "$log")" \
        "$(awk '/^# (fail|cancelled) /{n+=$3} END {print n + 0}' "$log")" "$code"
    rm -f "$log"
}

# The Python that has the newest SDK of each vendor.
dialects_python() {
    venv "dialects-$OPENAI_PYTHON-$ANTHROPIC_PYTHON-$GENAI_PYTHON" "openai==$OPENAI_PYTHON" \
        "anthropic==$ANTHROPIC_PYTHON" "google-genai==$GENAI_PYTHON" "pytest==$PYTEST" "pytest-timeout==$PYTEST_TIMEOUT"
}

# The four dialects by the vendors' own SDKs for Python: all tests, or with `third` those that stand for the others.
dialects_suite() {
    local part=${1:-} python
    python=$(dialects_python)
    PYTEST_ADDOPTS="${part:+-m $part} ${TIDEGATE_RESULTS:+--junitxml=$TIDEGATE_RESULTS/dialects-python.xml}" \
        pytest_suite "the dialects for Python" "$ROOT/conformance/dialects" "$python" --loops
}

# The generation before. Its types do not know what this one sends, so it does not judge the upstream requests.
older_dialects_suite() {
    local openai=${OPENAI_PYTHON_OLDER##* } python
    python=$(venv "dialects-$openai-$ANTHROPIC_PYTHON_OLDER-$GENAI_PYTHON_OLDER" "openai==$openai" \
        "anthropic==$ANTHROPIC_PYTHON_OLDER" "google-genai==$GENAI_PYTHON_OLDER" "pytest==$PYTEST" \
        "pytest-timeout==$PYTEST_TIMEOUT")
    PYTEST_ADDOPTS="--ignore-glob=*test_zz_* --ignore-glob=*test_fits*" \
        pytest_suite "the dialects for Python, older SDKs" "$ROOT/conformance/dialects" "$python" --loops
}

# The same for Node, the basics.
node_dialects_suite() {
    local log code=0 report=()
    need node "install Node 20 or newer"
    STAND_NODE_PACKAGES=$(node_modules "dialects-$OPENAI_NODE-$ANTHROPIC_NODE-$GENAI_NODE" "openai@$OPENAI_NODE" \
        "@anthropic-ai/sdk@$ANTHROPIC_NODE" "@google/genai@$GENAI_NODE")
    export STAND_NODE_PACKAGES
    [ -z "${TIDEGATE_RESULTS:-}" ] || report=(--test-reporter=junit
        "--test-reporter-destination=$TIDEGATE_RESULTS/dialects-node.xml")
    log=$(mktemp)
    python3 "$ROOT/conformance/stand.py" --loops -- node --test --test-reporter=tap --test-reporter-destination=stdout \
        "${report[@]}" --test-timeout=60000 "$ROOT"/conformance/node-dialects/*.test.mjs >"$log" 2>&1 || code=$?
    [ "$code" -eq 0 ] || grep -vE '^ *(duration_ms|type):' "$log" | tail -n 150 >&2
    counted "the dialects for Node" "$(awk '/^# pass /{n=$3} END {print n + 0}' "$log")" \
        "$(awk '/^# (fail|cancelled) /{n+=$3} END {print n + 0}' "$log")" "$code"
    rm -f "$log"
}

verdict() {
    echo "$PASSED passed, $FAILED failed"
    [ "$FAILED" = 0 ]
}

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

# pytest_suite NAME FOLDER_OR_FILE PYTHON STAND_OPTIONS...
pytest_suite() {
    local name=$1 folder=$2 python=$3 log code=0 settings=$2
    [ -d "$settings" ] || settings=$(dirname "$settings")
    shift 3
    log=$(mktemp)
    python3 "$ROOT/conformance/stand.py" "$@" -- "$python" -m pytest -c "$settings/pytest.ini" "$folder" >"$log" 2>&1 || code=$?
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

# Embeddings and rerank by the vendors' own SDKs, against each vendor that has them.
vectors_suite() {
    local python
    python=$(venv "vectors-$OPENAI_PYTHON-$GENAI_PYTHON-$COHERE_PYTHON" "openai==$OPENAI_PYTHON" \
        "google-genai==$GENAI_PYTHON" "cohere==$COHERE_PYTHON" "pytest==$PYTEST" "pytest-timeout==$PYTEST_TIMEOUT")
    PYTEST_ADDOPTS="${TIDEGATE_RESULTS:+--junitxml=$TIDEGATE_RESULTS/vectors-python.xml}" \
        pytest_suite "embeddings and rerank for Python" "$ROOT/conformance/vectors" "$python" --vectors
}

# Pictures, sound, files and batches by the vendors' own SDKs, against a vendor that has them.
media_suite() {
    local python
    python=$(dialects_python)
    PYTEST_ADDOPTS="${TIDEGATE_RESULTS:+--junitxml=$TIDEGATE_RESULTS/media-python.xml}" \
        pytest_suite "pictures, sound, files and batches for Python" "$ROOT/conformance/media" "$python" --media
}

# The generation before. Its types do not know what this one sends, so it does not judge the upstream requests.
older_dialects_suite() {
    local openai=${OPENAI_PYTHON_OLDER##* } python
    python=$(venv "dialects-$openai-$ANTHROPIC_PYTHON_OLDER-$GENAI_PYTHON_OLDER" "openai==$openai" \
        "anthropic==$ANTHROPIC_PYTHON_OLDER" "google-genai==$GENAI_PYTHON_OLDER" "pytest==$PYTEST" \
        "pytest-timeout==$PYTEST_TIMEOUT")
    PYTEST_ADDOPTS="--ignore-glob=*test_zz_* --ignore-glob=*test_fits* --ignore-glob=*test_goldens* --ignore-glob=*test_endings*" \
        pytest_suite "the dialects for Python, older SDKs" "$ROOT/conformance/dialects" "$python" --loops
}

# node_dialects_suite [OPENAI ANTHROPIC GENAI [NODE]]: the same for Node, the basics; under another version of Node if named.
node_dialects_suite() {
    local openai=${1:-$OPENAI_NODE} anthropic=${2:-$ANTHROPIC_NODE} genai=${3:-$GENAI_NODE} node=${4:-}
    STAND_NODE_PACKAGES=$(node_modules "dialects-$openai-$anthropic-$genai" "openai@$openai" \
        "@anthropic-ai/sdk@$anthropic" "@google/genai@$genai" "zod@$ZOD")
    export STAND_NODE_PACKAGES
    node_tests "the dialects for Node (openai $openai, anthropic $anthropic, genai $genai)" node-dialects \
        "dialects-node${node:+-newer}" "$node"
}

# The same for pictures, sound, files and batches.
node_media_suite() {
    local openai=${1:-$OPENAI_NODE} anthropic=${2:-$ANTHROPIC_NODE} genai=${3:-$GENAI_NODE} node=${4:-}
    STAND_NODE_PACKAGES=$(node_modules "dialects-$openai-$anthropic-$genai" "openai@$openai" \
        "@anthropic-ai/sdk@$anthropic" "@google/genai@$genai" "zod@$ZOD")
    export STAND_NODE_PACKAGES
    STAND_OPTIONS=--media node_tests "pictures, sound, files and batches for Node (openai $openai)" node-media \
        "media-node${node:+-newer}" "$node"
}

# Embeddings by the vendors' SDKs for Node.
node_vectors_suite() {
    local openai=${1:-$OPENAI_NODE} anthropic=${2:-$ANTHROPIC_NODE} genai=${3:-$GENAI_NODE} node=${4:-}
    STAND_NODE_PACKAGES=$(node_modules "dialects-$openai-$anthropic-$genai" "openai@$openai" \
        "@anthropic-ai/sdk@$anthropic" "@google/genai@$genai" "zod@$ZOD")
    export STAND_NODE_PACKAGES
    STAND_OPTIONS=--vectors node_tests "embeddings for Node (openai $openai, genai $genai)" node-vectors \
        "vectors-node${node:+-newer}" "$node"
}

# node_tests NAME FOLDER RESULTS [NODE]: the tests of a folder of conformance/, with the packages that are exported. NODE_TESTS
# names the files of it if not all are wanted.
node_tests() {
    local name=$1 folder=$2 results=$3 node=${4:-} log code=0 report=() runner=(node) files=() file
    for file in ${NODE_TESTS:-'*'}; do files+=("$ROOT/conformance/$folder"/$file.test.mjs); done
    need node "install Node 20 or newer"
    [ -z "$node" ] || runner=(npx --yes --package "node@$node" -- node)
    [ -z "${TIDEGATE_RESULTS:-}" ] || report=(--test-reporter=junit
        "--test-reporter-destination=$TIDEGATE_RESULTS/$results.xml")
    log=$(mktemp)
    AI_SDK_LOG_WARNINGS=false python3 "$ROOT/conformance/stand.py" "${STAND_OPTIONS:---loops}" -- "${runner[@]}" --test --test-reporter=tap \
        --test-reporter-destination=stdout ${report[@]+"${report[@]}"} --test-timeout=60000 \
        "${files[@]}" >"$log" 2>&1 || code=$?
    [ "$code" -eq 0 ] || grep -vE '^ *(duration_ms|type):' "$log" | tail -n 150 >&2
    counted "$name${node:+ on Node $node}" "$(awk '/^# pass /{n=$3} END {print n + 0}' "$log")" \
        "$(awk '/^# (fail|cancelled) /{n+=$3} END {print n + 0}' "$log")" "$code"
    rm -f "$log"
}

# client_suite PART NAME REQUIREMENT...: a library that stands on the SDKs, in an environment of its own.
client_suite() {
    local part=$1 name=$2 python
    shift 2
    python=$(venv "client-$name" "$@" "pytest==$PYTEST" "pytest-timeout==$PYTEST_TIMEOUT")
    # None of them is to tell anybody anything, or to look for prices elsewhere.
    PYTEST_ADDOPTS="${part:+-m $part} ${TIDEGATE_RESULTS:+--junitxml=$TIDEGATE_RESULTS/client-$name.xml}" \
        OPENAI_AGENTS_DISABLE_TRACING=1 LITELLM_LOCAL_MODEL_COST_MAP=True ANONYMIZED_TELEMETRY=False DO_NOT_TRACK=1 \
        pytest_suite "$name" "$ROOT/conformance/clients/test_$name.py" "$python" --loops
}

# The tests that LangChain has for every model, for its client of OpenAI: chat at each dialect, then embeddings. They want a
# newer pytest than the others.
standard_suite() {
    local python name
    python=$(venv "standard-$LANGCHAIN_OPENAI-$LANGCHAIN_TESTS" "langchain-openai==$LANGCHAIN_OPENAI" \
        "langchain-tests==$LANGCHAIN_TESTS" "pytest==$PYTEST_NEWER" "pytest-timeout==$PYTEST_TIMEOUT")
    for name in chat embeddings; do
        local options=(--loops --obliging)
        [ "$name" = chat ] || options=(--vectors)
        PYTEST_ADDOPTS="${TIDEGATE_RESULTS:+--junitxml=$TIDEGATE_RESULTS/standard-$name.xml}" \
            pytest_suite "LangChain's standard tests, $name" "$ROOT/conformance/standard/test_$name.py" "$python" "${options[@]}"
    done
}

# The libraries that stand on the SDKs: all of them, or with `third` what stands for the others.
client_suites() {
    local part=${1:-}
    client_suite "$part" langchain_openai "langchain-openai==$LANGCHAIN_OPENAI"
    client_suite "$part" pydantic_ai "pydantic-ai-slim[openai,anthropic,google]==$PYDANTIC_AI"
    client_suite "$part" instructor "instructor==$INSTRUCTOR"
    client_suite "$part" openai_agents "openai-agents==$OPENAI_AGENTS"
    ai_sdk_suite "$AI_SDK"
    [ -z "$part" ] || return 0
    standard_suite
    # The largest to install.
    client_suite "" llama_index "llama-index-llms-openai-like==$LLAMA_INDEX_OPENAI_LIKE"
    client_suite "" litellm "litellm==$LITELLM_CLIENT"
    client_suite "" llm "llm==$LLM"
    client_suite "" inspect_ai "inspect-ai==$INSPECT_AI" "openai==$OPENAI_PYTHON"
    ai_sdk_suite "$AI_SDK_NEWER" "$NODE_NEWER"
}

# ai_sdk_suite PACKAGES [NODE]: Vercel's AI SDK, under another version of Node if named.
ai_sdk_suite() {
    local packages=$1 node=${2:-} major
    major=$(grep -oE '^ai@[0-9]+' <<<"$packages")
    # shellcheck disable=SC2086
    STAND_NODE_PACKAGES=$(node_modules "$major" $packages "zod@$ZOD")
    export STAND_NODE_PACKAGES
    node_tests "Vercel AI SDK, $major" node-clients "$major" "$node"
}

verdict() {
    echo "$PASSED passed, $FAILED failed"
    [ "$FAILED" = 0 ]
}

# Agents that run on a command line, headless. Large (0.9 GB), so not among what stands for the others.
agents_suite() {
    local python modules
    python=$(dialects_python)
    modules=$(node_modules agents "@anthropic-ai/claude-code@$CLAUDE_CODE" "@openai/codex@$CODEX" "@google/gemini-cli@$GEMINI_CLI")
    STAND_CLAUDE_CODE="$modules/node_modules/.bin/claude" STAND_CLAUDE_CODE_VERSION=$CLAUDE_CODE \
        STAND_CODEX="$modules/node_modules/.bin/codex" STAND_CODEX_VERSION=$CODEX \
        STAND_GEMINI_CLI="[\"npx\", \"--yes\", \"--package\", \"node@$NODE_NEWER\", \"--\", \"node\", \"$modules/node_modules/.bin/gemini\"]" \
        STAND_GEMINI_CLI_VERSION=$GEMINI_CLI \
        PYTEST_ADDOPTS="${TIDEGATE_RESULTS:+--junitxml=$TIDEGATE_RESULTS/agents.xml}" \
        pytest_suite "Claude Code, Codex and Gemini CLI" "$ROOT/conformance/agents" "$python" --loops --agent
}

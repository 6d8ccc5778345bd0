"""Claude Code, headless: it writes, reads and edits a file as the model tells it, over several turns."""

import json
import os
import subprocess

import pytest


@pytest.mark.shows("a task of several turns: write, read, edit, two calls at once")
def test_a_task(name, folder, home):
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "ANTHROPIC_BASE_URL": os.environ["TIDEGATE_URL"],
        "ANTHROPIC_AUTH_TOKEN": os.environ["TIDEGATE_API_KEY"], "ANTHROPIC_MODEL": name, "ANTHROPIC_SMALL_FAST_MODEL": name,
        # It is to talk to nobody else.
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
    }
    done = subprocess.run(
        [os.environ["STAND_CLAUDE_CODE"], "-p", f"Write down the tide. FOLDER={folder} is yours.", "--output-format", "json",
         "--max-turns", "12", "--allowedTools", "Write,Read,Edit,Glob"],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, f"{done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    told = json.loads(lines[-1])
    assert told["result"] == "The tide is in the file.", told["result"][:500]
    assert not told["is_error"] and told["permission_denials"] == []
    assert (folder / "tide.txt").read_text() == "high at one\n\"low\" at six — 潮\n"
    assert told["num_turns"] >= 5 and told["usage"]["output_tokens"] >= 100

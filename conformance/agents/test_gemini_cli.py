"""Gemini CLI, headless: it writes, reads and edits a file as the model tells it, over several turns."""

import json
import os
import subprocess

import pytest

SETTINGS = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False},
            "general": {"enableAutoUpdate": False}, "telemetry": {"enabled": False}}


@pytest.mark.shows("a task of several turns: write, read, replace, two calls at once")
def test_a_task(name, folder, home):
    (home / ".gemini").mkdir()
    (home / ".gemini" / "settings.json").write_text(json.dumps(SETTINGS))
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "GEMINI_API_KEY": os.environ["TIDEGATE_API_KEY"],
                   "GOOGLE_GEMINI_BASE_URL": os.environ["TIDEGATE_URL"], "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    done = subprocess.run(
        [*json.loads(os.environ["STAND_GEMINI_CLI"]), "-m", name, "--yolo", "--output-format", "json", "-p",
         f"Write down the tide. FOLDER={folder} is yours."],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150)
    assert done.stdout.startswith("{"), (done.stdout[-1000:], done.stderr[-1000:])
    told = json.loads(done.stdout)
    assert told["response"] == "The tide is in the file.", told["response"]
    assert (folder / "tide.txt").read_text() == "high at one\n\"low\" at six — 潮\n"
    assert told["stats"]["tools"]["totalSuccess"] == 5 and told["stats"]["tools"]["totalFail"] == 0

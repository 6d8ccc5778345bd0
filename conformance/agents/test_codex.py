"""Codex, headless, over Responses: it writes and edits a file with a shell as the model tells it, over several turns."""

import json
import os
import subprocess

import pytest

SETTINGS = """
model = "{model}"
model_provider = "tidegate"

[model_providers.tidegate]
name = "Tidegate"
base_url = "{url}/v1"
env_key = "TIDEGATE_API_KEY"
wire_api = "responses"

[analytics]
enabled = false
"""


@pytest.mark.shows("a task of several turns with a shell, two calls at once")
def test_a_task(name, folder, home):
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(SETTINGS.format(model=name, url=os.environ["TIDEGATE_URL"]))
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "CODEX_HOME": str(home / ".codex"),
                   "TIDEGATE_API_KEY": os.environ["TIDEGATE_API_KEY"]}
    done = subprocess.run(
        [os.environ["STAND_CODEX"], "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json",
         f"Write down the tide. FOLDER={folder} is yours."],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    said = [event["item"]["text"] for event in events
            if event["type"] == "item.completed" and event["item"]["type"] == "agent_message"]
    assert said == ["The tide is in the file."], (done.stdout[-2000:], done.stderr[-1000:])
    assert (folder / "tide.txt").read_text() == "high at one\n\"low\" at six — 潮\n"
    ended = events[-1]
    assert ended["type"] == "turn.completed" and ended["usage"]["output_tokens"] >= 80, ended

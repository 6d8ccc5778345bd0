"""What a test says of itself for docs/compatibility.md: here the client is a program, and its version is in the stand."""

import json
import os

import pytest


CLIENTS = {"test_claude_code": (f"Claude Code {os.environ['STAND_CLAUDE_CODE_VERSION']}", "messages"),
           "test_gemini_cli": (f"Gemini CLI {os.environ['STAND_GEMINI_CLI_VERSION']}", "gemini"),
           "test_codex": (f"Codex {os.environ['STAND_CODEX_VERSION']}", "responses")}


EGRESS = {"chat": "", "messages": "anthropic", "gemini": "gemini"}


@pytest.fixture(params=list(EGRESS))
def egress(request):
    """The dialect that the gateway speaks to the model."""
    return request.param


@pytest.fixture
def name(egress):
    """What the agent calls the model."""
    return json.loads(os.environ["STAND_MODELS"])[EGRESS[egress]]["agent"]


@pytest.fixture
def folder(tmp_path):
    """Where the agent works."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path):
    """Where it keeps its own things: none of this machine's are its to see."""
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture(autouse=True)
def cell(request, record_property):
    mark = request.node.get_closest_marker("shows")
    if mark:
        client, ingress = CLIENTS[request.module.__name__]
        record_property("cell", json.dumps([client, ingress, request.node.callspec.params["egress"], mark.args[0]]))

"""Fixtures, and what a test says of itself for docs/compatibility.md."""

import functools
import json
import os
import pathlib

import cells
import pytest
from journal import Journal

from speakers import INGRESS, model

SDKS = {"chat": "openai", "responses": "openai", "messages": "anthropic", "gemini": "google-genai"}


def pytest_generate_tests(metafunc):
    """`egress` is a dialect that the gateway speaks upstream: the client's own where it can be, and two foreign ones."""
    if "stream" in metafunc.fixturenames:
        metafunc.parametrize("stream", [False, True], ids=["whole", "streamed"])
    if "egress" in metafunc.fixturenames and not any("egress" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")):
        ingress = metafunc.module.INGRESS
        own = [ingress] if ingress in ("chat", "messages", "gemini", "responses") else []
        metafunc.parametrize("egress", sorted({"chat", "messages", "gemini", *own}))


@pytest.fixture(autouse=True)
def cell(request, record_property):
    """The client, the two dialects and the feature, for the page that is made of the results."""
    if request.node.get_closest_marker("shows"):
        cells.record(request, record_property, SDKS.get, getattr(request.cls or request.module, "INGRESS", None))


@pytest.fixture
def named(egress):
    """The name of one of the stand's models for the gateway to speak the egress dialect."""
    return functools.partial(model, egress)


@pytest.fixture
def speaker(request):
    return INGRESS[request.module.INGRESS]()


class Record:
    """Every request that left the gateway for itself."""

    def __init__(self):
        self.path = pathlib.Path(os.environ["STAND_RECORD"])

    def requests(self, marker=None):
        for line in self.path.read_text().split("\n")[:-1]:
            request = json.loads(line)
            if marker is None or marker in request["body"]:
                yield request

    def bodies(self, marker):
        return [json.loads(request["body"]) for request in self.requests(marker)]


@pytest.fixture(scope="session")
def record():
    return Record()


@pytest.fixture(scope="session")
def journal():
    return Journal(os.environ["STAND_JOURNAL"])


@pytest.fixture
def marker(request):
    """A word that no other test sends."""
    return "mark" + "".join(c if c.isalnum() else "-" for c in request.node.name)


def tool(name):
    return {"name": name, "description": f"Tells the {name}.", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        "additionalProperties": False}}


TOOLS = [tool("weather"), tool("tide")]
FERRY = {"type": "object", "properties": {"name": {"type": "string"}, "seats": {"type": "integer"}},
         "required": ["name", "seats"], "additionalProperties": False}
AT_ONCE = " [[pace=0]]"

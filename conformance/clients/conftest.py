"""What the suites of the client libraries share.

Each library has a Python environment of its own and one file of tests, so nothing here imports any of them. A test asks
for `egress`, the dialect that the gateway speaks upstream, and runs for the client's own and for two foreign ones.
"""

import functools
import json
import os

import cells
import pydantic
import pytest


URL = os.environ["TIDEGATE_URL"]
KEY = os.environ["STAND_KEY_APP"]
MODELS = json.loads(os.environ["STAND_MODELS"])
EGRESS = {"chat": "", "responses": "openai", "messages": "anthropic", "gemini": "gemini"}
AT_ONCE = " [[pace=0]]"


class Ferry(pydantic.BaseModel):
    """A ferry of the harbour."""

    name: str
    seats: int


def model(egress, short):
    return MODELS[EGRESS[egress]][short]


def pytest_generate_tests(metafunc):
    if "stream" in metafunc.fixturenames:
        metafunc.parametrize("stream", [False, True], ids=["whole", "streamed"])
    def by_hand(name):
        return any(name in mark.args[0].split(",") for mark in metafunc.definition.iter_markers("parametrize"))
    if "ingress" in metafunc.fixturenames and not by_hand("ingress"):
        metafunc.parametrize("ingress", metafunc.module.INGRESSES)
    if "egress" in metafunc.fixturenames and not by_hand("egress"):
        own = getattr(metafunc.module, "INGRESSES", ["chat"])
        metafunc.parametrize("egress", sorted({"chat", "messages", "gemini", *own}))


@pytest.fixture(autouse=True)
def cell(request, record_property):
    """The client, the two dialects and the feature, for the page that is made of the results."""
    if request.node.get_closest_marker("shows"):
        cells.record(request, record_property, request.module.PACKAGE, request.module.INGRESSES[0])


@pytest.fixture
def named(egress):
    return functools.partial(model, egress)

"""What every test needs: clients with the stand's keys, and the upstream's journal."""

import os
import time

import openai
import pytest
from journal import Journal

URL = os.environ["TIDEGATE_URL"] + "/v1"


def key(name):
    return os.environ[f"STAND_KEY_{name.upper()}"]


def make_client(name="app", **more):
    more.setdefault("max_retries", 0)
    more.setdefault("timeout", 30)
    return openai.OpenAI(base_url=URL, api_key=key(name), **more)


def make_async_client(name="app", **more):
    more.setdefault("max_retries", 0)
    more.setdefault("timeout", 60)
    return openai.AsyncOpenAI(base_url=URL, api_key=key(name), **more)


@pytest.fixture
def client():
    return make_client()


@pytest.fixture(scope="session")
def journal():
    return Journal(os.environ["STAND_JOURNAL"])


@pytest.fixture
def marker(request):
    """A word that no other test sends."""
    return f"marker-{request.node.name}-{time.monotonic_ns()}"


def ask(text="hello"):
    return [{"role": "user", "content": text}]

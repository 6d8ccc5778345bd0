"""What the standard tests share: who asks, what the page is told, and what they would fetch from elsewhere."""

import base64
import json
import os

import cells
import httpx
import pytest

URL = os.environ["TIDEGATE_URL"]
KEY = os.environ["STAND_KEY_APP"]
PACKAGE = "langchain-openai"
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MEDIA = {".png": base64.b64decode(DOT), ".pdf": b"%PDF-1.4 a tide table", ".wav": b"RIFF" + bytes(40)}
THEMES = [("tool", "tools"), ("function", "tools"), ("agent_loop", "tools"), ("structured", "structured output"), ("json", "structured output"),
          ("inputs", "pictures, sound, files"), ("usage", "usage"), ("embed", "embeddings")]


@pytest.fixture(autouse=True)
def cell(request, record_property):
    if getattr(request.cls, "EGRESS", None):
        theme = next((theme for word, theme in THEMES if word in request.node.name), "text and streams")
        request.node.add_marker(pytest.mark.shows(f"LangChain's standard tests: {theme}"))
        cells.record(request, record_property, PACKAGE, request.cls.INGRESS)


@pytest.fixture(autouse=True)
def media(monkeypatch):
    """Pictures and documents that the tests would fetch from the web, by the ending of their names."""
    def get(url, **_):
        return httpx.Response(200, content=MEDIA[url[url.rindex("."):]], request=httpx.Request("GET", url))
    monkeypatch.setattr(httpx, "get", get)
    monkeypatch.setattr("langchain_tests.integration_tests.chat_models._get_base64_from_url",
                        lambda url: base64.b64encode(get(url).content).decode())


@pytest.fixture
def snapshot():
    """In place of a picture of how the library writes a model down, which changes with its versions: it must hold no key."""
    class WithoutKey:
        def __call__(self, **_):
            return self

        def __eq__(self, written):
            return KEY not in json.dumps(written) and bool(written)
    return WithoutKey()

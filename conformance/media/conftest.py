"""Clients, what reached the vendor, and what a test says of itself for docs/compatibility.md."""

import json
import os
import pathlib

import cells
import pytest

URL, KEY = os.environ["TIDEGATE_URL"], os.environ["TIDEGATE_API_KEY"]
SDKS = {"openai_client": ("openai", "media-openai"), "azure_client": ("openai", "media-azure"),
        "anthropic_client": ("anthropic", "media-anthropic"), "genai_client": ("google-genai", "media-gemini")}


@pytest.fixture(autouse=True)
def cell(request, record_property):
    client = next((name for name in SDKS if name in request.fixturenames), None)
    if client and request.node.get_closest_marker("shows"):
        cells.record(request, record_property, *SDKS[client])


@pytest.fixture(autouse=True)
def nothing_of_ours_reaches_the_vendor(vendor):
    yield
    for request in vendor():
        assert KEY not in json.dumps(request), request
        assert "tidegate-pass" not in request["query"], request


@pytest.fixture
def vendor():
    """What reached the vendor since the test began."""
    journal = pathlib.Path(os.environ["STAND_MEDIA"])
    start = journal.stat().st_size if journal.exists() else 0

    def since():
        if not journal.exists():
            return []
        return [json.loads(line) for line in journal.read_bytes()[start:].decode().splitlines()]
    return since


@pytest.fixture
def openai_client():
    import openai
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0,
                         default_headers={"x-tidegate-provider": "openai"})


@pytest.fixture
def azure_client():
    import openai
    return openai.AzureOpenAI(azure_endpoint=URL, api_key=KEY, api_version="2024-10-21", max_retries=0)


@pytest.fixture
def anthropic_client():
    import anthropic
    return anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0,
                               default_headers={"x-tidegate-provider": "anthropic"})


@pytest.fixture(params=["", "/gemini"], ids=["root", "mount"])
def genai_client(request):
    from google import genai
    return genai.Client(api_key=KEY, http_options={"base_url": URL + request.param})

"""Clients, and what a test says of itself for docs/compatibility.md."""

import os

import cells
import pytest


URL, KEY = os.environ["TIDEGATE_URL"], os.environ["TIDEGATE_API_KEY"]
# The client's fixture: the SDK, and the words it speaks.
SDKS = {"openai_client": ("openai", "vectors-openai"), "genai_client": ("google-genai", "vectors-gemini"),
        "cohere_client": ("cohere", "vectors-cohere"), "older_cohere_client": ("cohere", "vectors-cohere-v1")}


@pytest.fixture(autouse=True)
def cell(request, record_property):
    """The client, the two dialects and the feature, for the page that is made of the results."""
    client = next((name for name in SDKS if name in request.fixturenames), None)
    if client and request.node.get_closest_marker("shows"):
        cells.record(request, record_property, *SDKS[client])


@pytest.fixture
def openai_client():
    import openai
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)


@pytest.fixture
def genai_client():
    from google import genai
    return genai.Client(api_key=KEY, http_options={"base_url": URL})


@pytest.fixture
def cohere_client():
    import cohere
    return cohere.ClientV2(api_key=KEY, base_url=URL)


@pytest.fixture
def older_cohere_client():
    import cohere
    return cohere.Client(api_key=KEY, base_url=URL)

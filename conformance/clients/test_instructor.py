"""instructor, which makes objects of answers: by tools, by a schema, piece by piece."""

import instructor
import openai
import pytest
from conftest import AT_ONCE, KEY, URL, Ferry

PACKAGE = "instructor"
INGRESSES = ["chat"]
MODES = [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.TOOLS_STRICT]


def client(mode):
    return instructor.from_openai(openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0), mode=mode)


def asked(named, mode):
    short = "json" if mode == instructor.Mode.JSON_SCHEMA else "echo"
    return {"model": named(short), "messages": [{"role": "user", "content": "a ferry" + AT_ONCE}], "max_retries": 0}


@pytest.mark.third
@pytest.mark.shows("An object of the asked type")
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_an_object(named, mode):
    assert isinstance(client(mode).create(response_model=Ferry, **asked(named, mode)), Ferry)


@pytest.mark.shows("An object that grows as it is streamed")
@pytest.mark.parametrize("mode", MODES[:2], ids=lambda mode: mode.value)
def test_a_growing_object(named, mode):
    parts = list(client(mode).create_partial(response_model=Ferry, **asked(named, mode)))
    assert parts and parts[-1].name is not None and isinstance(parts[-1].seats, int)

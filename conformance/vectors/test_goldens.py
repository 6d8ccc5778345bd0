"""The requests that the goldens of embeddings and rerank hold fit what the provider's SDK can say, and nothing beside it.

Jina publishes no SDK: what its API takes is checked by the vendor of the stand alone.
"""

import inspect
import json
import pathlib
import typing

import cohere
import pydantic
import pytest
from google.genai import types as kinds
from openai.types.embedding_create_params import EmbeddingCreateParams

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "crates" / "providers" / "tests" / "vectors" / "golden"


def of_openai(body):
    known = typing.get_type_hints(EmbeddingCreateParams)
    found = [f"{name} is unknown" for name in body if name not in known]
    return found + [f"{name} is missing" for name in ("model", "input") if name not in body]


def of_google(body):
    known = {"model": str, "content": kinds.Content, "taskType": str, "title": str, "outputDimensionality": int}
    found = [f"{name} is unknown" for name in body if name != "requests"] if "requests" in body else []
    for request in body.get("requests", [body]):
        found += [f"{name} is unknown" for name in request if name not in known]
        for name, kind in known.items():
            if name in request:
                try:
                    pydantic.TypeAdapter(kind).validate_python(request[name])
                except pydantic.ValidationError as problem:
                    found.append(f"{name}: {problem}")
    return found


def of_cohere(method):
    parameters = inspect.signature(method).parameters
    takes = {name for name in parameters if name not in ("self", "request_options")}
    needs = {name for name in takes if parameters[name].default is inspect.Parameter.empty}

    def check(body):
        body = {name: value for name, value in body.items() if name != "stream"}
        return [f"{name} is unknown" for name in sorted(body.keys() - takes)] + [
            f"{name} is missing" for name in sorted(needs - body.keys())]
    return check


CHECKS = {"embed-*-to-openai": of_openai, "embed-*-to-gemini": of_google,
          "embed-*-to-cohere": of_cohere(cohere.ClientV2.embed), "rerank-*-to-cohere": of_cohere(cohere.ClientV2.rerank)}


@pytest.mark.parametrize("pattern", list(CHECKS))
def test_every_golden_fits_the_vendors_words(pattern):
    seen, faults = 0, []
    for file in sorted(GOLDEN.glob(f"{pattern}.txt")):
        for line in file.read_text().splitlines():
            if line.startswith("  sent    "):
                seen += 1
                faults += [f"{file.name}: {fault} in {line[:300]}" for fault in CHECKS[pattern](json.loads(line[10:]))]
    assert seen >= 3, f"only {seen} goldens were found"
    assert not faults, "\n".join(faults[:40])

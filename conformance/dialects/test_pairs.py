"""The same conversation through every pair of dialects comes to the same: thoughts, three turns with two tool calls
each, an image, an answer by a schema, whatever the client speaks and whatever the gateway speaks upstream."""

import functools
import json
import struct
import zlib

import pytest
from conftest import AT_ONCE, FERRY, TOOLS
from speakers import INGRESS, PAIRS, model


def picture():
    """A PNG of 3 × 2 pixels."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([200, 30, 30]) * 3 for _ in range(2))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)) \
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def hold(ingress, egress, stream):
    """The whole conversation; the outcome of each answer."""
    speaker, said = INGRESS[ingress](), []

    def answer(short, **more):
        said.append(speaker.answer(model(egress, short), stream, **more))
        return said[-1]

    speaker.ask("think it over")
    answer("think", think=True)
    for turn, city in enumerate(["Lisbon", "Oslo", "Hull"]):
        speaker.ask(f"weather and tide in {city}?{AT_ONCE}", image=picture() if turn == 1 else None)
        calls = answer("tools", tools=TOOLS).calls
        assert len(calls) == 2, f"{turn}: {said[-1]}"
        speaker.results([(calls[0], {"celsius": 10 + turn}), (calls[1], {"high": f"0{turn}:30", "metres": 2.5})])
        answer("tools", tools=TOOLS)
    speaker.ask(f"what do you see?{AT_ONCE}", image=picture())
    answer("vision", tools=TOOLS, choice="none")
    speaker.ask(f"a ferry, please{AT_ONCE}")
    answer("json", schema=FERRY)
    assert all(one.input > 0 and one.output > 0 for one in said), "usage is there"
    return [one.outcome() for one in said], [one.output for one in said]


@functools.cache
def expected():
    return hold("chat", "chat", False)


def test_what_is_compared_says_something():
    thinking, *turns, seen, ferry = expected()[0]
    assert thinking[3], "it thought"
    assert [stop for _, _, stop, _ in turns] == ["tool", "end"] * 3
    for text, calls, stop, _ in turns:
        assert (len(calls) == 2 and not text) if stop == "tool" else ("celsius" in text and "metres" in text)
    assert "3" in seen[0] and "2" in seen[0] and "PNG" in seen[0].upper()
    assert set(json.loads(ferry[0])) == {"name", "seats"}


@pytest.mark.shows("A conversation of 9 answers: reasoning, 3 × 2 tool calls, images, structured output")
@pytest.mark.parametrize("ingress,egress", [
    pytest.param(*pair, marks=[pytest.mark.third] if pair in {("chat", "messages"), ("messages", "gemini"), (
        "responses", "messages"), ("gemini", "messages"), ("messages", "chat")} else []) for pair in PAIRS])
def test_the_same_conversation(ingress, egress, stream):
    outcomes, outputs = hold(ingress, egress, stream)
    for place, (mine, theirs) in enumerate(zip(outcomes, expected()[0], strict=True)):
        assert mine == theirs, f"answer {place}"
    assert outputs == expected()[1], "output tokens"


@pytest.mark.parametrize("ingress", ["messages", "gemini"])
def test_the_same_conversation_with_a_model_of_openai(ingress, stream):
    """A provider that has both of OpenAI's doors is asked in Chat by whoever speaks neither."""
    assert hold(ingress, "responses", stream)[0] == expected()[0]

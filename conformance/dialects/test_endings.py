"""What a client does to a call in whatever dialect: it leaves, it comes in crowds, it brings much. For every pair of dialects."""

import concurrent.futures
import time

import pytest
from conftest import AT_ONCE
from speakers import INGRESS, PAIRS, model

EVERY = pytest.mark.parametrize("ingress,egress", PAIRS)


def begin(ingress, client, name, text):
    """A stream of the vendor's SDK, opened but not read."""
    if ingress == "chat":
        return client.chat.completions.create(model=name, messages=[{"role": "user", "content": text}], stream=True)
    if ingress == "responses":
        return client.responses.create(model=name, input=text, store=False, stream=True)
    if ingress == "messages":
        return client.messages.create(model=name, max_tokens=20_000, messages=[{"role": "user", "content": text}], stream=True)
    return client.models.generate_content_stream(model=name, contents=text)


def texts(ingress, stream):
    for part in stream:
        if ingress == "chat":
            yield from (choice.delta.content or "" for choice in part.choices)
        elif ingress == "responses" and part.type == "response.output_text.delta":
            yield part.delta
        elif ingress == "messages" and part.type == "content_block_delta":
            yield part.delta.text
        elif ingress == "gemini":
            yield part.text or ""


# A provider that bills on after an abort is listened to for its bill, so of Gemini another thing is asked below.
@pytest.mark.shows("Closing a stream ends the upstream's call")
@pytest.mark.parametrize("ingress,egress", [pair for pair in PAIRS if pair[1] != "gemini"])
def test_closing_a_stream(ingress, egress, journal, marker):
    client = INGRESS[ingress].make()
    stream = begin(ingress, client, model(egress, "endless"), marker)
    for _, _ in zip(range(5), texts(ingress, stream)):
        pass
    [request_id] = journal.requests_of(marker)
    before = time.monotonic()
    stream.close()
    end = journal.dispatches(request_id, patience=5)[0]["end"]
    assert end["aborted"] and end["events"] < 4000
    assert time.monotonic() - before < 2


@pytest.mark.shows("An abort gives the place back")
@EVERY
def test_an_abort_gives_the_place_back(ingress, egress):
    client = INGRESS[ingress].make("single")
    refusals = []

    def ask():
        """What a short call says, or nothing if there was no place for it."""
        try:
            return "".join(texts(ingress, begin(ingress, client, model(egress, "echo"), "next" + AT_ONCE)))
        except Exception as error:
            assert getattr(error, "status_code", getattr(error, "code", None)) == 429, error
            refusals.append(error)

    stream = begin(ingress, client, model(egress, "slow"), "the sea")
    next(texts(ingress, stream))
    assert ask() is None and refusals
    stream.close()
    deadline = time.monotonic() + 5
    while (said := ask()) is None:
        assert time.monotonic() < deadline, "the place was not given back"
        time.sleep(0.05)
    assert "next" in said


@pytest.mark.shows("Fifty streams at once do not mix")
@EVERY
def test_fifty_at_once(ingress, egress):
    client = INGRESS[ingress].make()

    def one(n):
        words = [f"only-{n:03d}-here"] * 20
        said = "".join(texts(ingress, begin(ingress, client, model(egress, "echo"), " ".join(words) + " [[pace=400]]")))
        return words, said.removeprefix("Simulated echo: ")

    with concurrent.futures.ThreadPoolExecutor(50) as crowd:
        for words, said in crowd.map(one, range(50)):
            assert said == " ".join(words)


@pytest.mark.shows("A body of 20 MB")
@pytest.mark.parametrize("ingress,egress", [("chat", "chat")])
def test_a_large_body(ingress, egress):
    client = INGRESS[ingress].make()
    assert "".join(texts(ingress, begin(ingress, client, model(egress, "plain"), "tide " * 4_000_000)))

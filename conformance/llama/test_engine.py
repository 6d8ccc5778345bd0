"""A real engine behind the gateway: what it says directly is what a client hears, and it stops when the client goes.

The model is of random weights, so nothing here asks whether an answer makes sense; with temperature 0 the same question
has the same answer, directly and through the gateway.
"""

import decimal
import json
import os
import time
import urllib.request

import openai
import pytest

ENGINE = os.environ["STAND_UPSTREAM"]
MODEL = "local/tiny"
STEADY = {"temperature": 0, "seed": 7}


@pytest.fixture
def client():
    return openai.OpenAI(base_url=os.environ["TIDEGATE_URL"] + "/v1", api_key=os.environ["TIDEGATE_API_KEY"],
                         max_retries=0, timeout=60)


@pytest.fixture
def direct():
    return openai.OpenAI(base_url=f"{ENGINE}/v1", api_key="none", max_retries=0, timeout=60)


def ask(text="the tide comes in"):
    return [{"role": "user", "content": text}]


def engine_metric(name):
    text = urllib.request.urlopen(f"{ENGINE}/metrics", timeout=10).read().decode()
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"llamacpp:{name} "))


def test_its_models_are_discovered(client):
    assert MODEL in [model.id for model in client.models.list()]


def test_the_same_answer_and_usage_as_directly(client, direct):
    theirs = direct.chat.completions.create(model="tiny", messages=ask(), max_tokens=40, **STEADY)
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=ask(), max_tokens=40, **STEADY)
    ours = raw.parse()
    assert ours.choices[0].message.content == theirs.choices[0].message.content
    assert ours.choices[0].finish_reason == theirs.choices[0].finish_reason == "length"
    told = (ours.usage.prompt_tokens, ours.usage.completion_tokens, ours.usage.total_tokens)
    assert told == (theirs.usage.prompt_tokens, 40, theirs.usage.total_tokens)
    cached = ours.usage.prompt_tokens_details.cached_tokens
    assert cached >= 0
    assert ours.model_extra["timings"]["predicted_n"] == 40, "fields of the engine's own pass"
    cost = (told[0] * decimal.Decimal("0.10") + told[1] * decimal.Decimal("0.40")) / 1_000_000
    assert decimal.Decimal(raw.headers["x-tidegate-cost"]) == cost


def test_a_stream_is_the_whole_answer_in_parts(client):
    whole = client.chat.completions.create(model=MODEL, messages=ask(), max_tokens=40, **STEADY)
    parts = list(client.chat.completions.create(model=MODEL, messages=ask(), max_tokens=40, stream=True,
                                                stream_options={"include_usage": True}, **STEADY))
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == whole.choices[0].message.content
    assert parts[-1].usage.completion_tokens == 40 and parts[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_no_usage_chunk_for_who_did_not_ask(client):
    parts = list(client.chat.completions.create(model=MODEL, messages=ask(), max_tokens=5, stream=True, **STEADY))
    assert all(part.usage is None and part.choices for part in parts)


def test_completions(client, direct):
    theirs = direct.completions.create(model="tiny", prompt="once", max_tokens=12, **STEADY)
    ours = client.completions.create(model=MODEL, prompt="once", max_tokens=12, **STEADY)
    assert ours.choices[0].text == theirs.choices[0].text
    assert ours.usage.completion_tokens == theirs.usage.completion_tokens == 12


def test_embeddings(client, direct):
    theirs = direct.embeddings.create(model="tiny", input="the tide")
    ours = client.embeddings.create(model=MODEL, input="the tide")
    assert ours.data[0].embedding == theirs.data[0].embedding
    assert ours.usage.prompt_tokens == theirs.usage.prompt_tokens > 0


def test_json_by_schema_from_random_weights(client):
    schema = {"type": "object", "additionalProperties": False, "required": ["seats", "deck"],
              "properties": {"seats": {"type": "integer", "minimum": 1, "maximum": 9}, "deck": {"enum": ["open", "closed"]}}}
    answer = client.chat.completions.create(model=MODEL, messages=ask(), max_tokens=400, **STEADY, response_format={
        "type": "json_schema", "json_schema": {"name": "ferry", "strict": True, "schema": schema}})
    ferry = json.loads(answer.choices[0].message.content)
    assert 1 <= ferry["seats"] <= 9 and ferry["deck"] in ("open", "closed")


def test_an_abort_stops_the_engine(client):
    before = engine_metric("tokens_predicted_total")
    stream = client.chat.completions.create(model=MODEL, messages=ask("go on"), max_tokens=30_000, stream=True)
    for _, _ in zip(range(20), stream):
        pass
    assert engine_metric("requests_processing") == 1
    stream.close()
    deadline = time.monotonic() + 10
    while engine_metric("requests_processing") > 0:
        assert time.monotonic() < deadline, "the engine goes on for nobody"
        time.sleep(0.05)
    assert engine_metric("tokens_predicted_total") - before < 25_000


def test_an_error_of_the_engine_is_the_clients_to_see(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=ask(), response_format={"type": "no-such-format"})
    assert caught.value.message

"""Responses over a WebSocket by OpenAI's SDK: turns of a conversation on one connection, with models of every dialect."""

import json
import time

import openai
import pytest
import websockets
from conftest import TOOLS
from speakers import GATEWAY, key, model

INGRESS = "responses"


@pytest.fixture
def client():
    sdk = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=key(), max_retries=0)
    if not hasattr(sdk.responses, "connect"):
        pytest.skip("this SDK has no connections for Responses")
    return sdk


def until(connection, *last):
    events = []
    while not events or events[-1].type not in last:
        events.append(connection.recv())
    return events


def refusal(connection):
    """As it came: the SDK's types of it differ from one major to the next."""
    event = json.loads(connection.recv_bytes())
    assert event["type"] == "error", event
    return event


def text(events):
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


@pytest.mark.third
@pytest.mark.shows("A connection: turns that go on from one another")
def test_turns(client, named):
    with client.responses.connect() as connection:
        connection.response.create(model=named("echo"), input="the tide")
        first = until(connection, "response.completed")
        assert [first[0].type, first[1].type] == ["response.created", "response.in_progress"]
        assert "the tide" in text(first) and first[-1].response.usage.output_tokens > 0
        assert [event.sequence_number for event in first] == list(range(len(first)))
        connection.response.create(model=named("echo"), input="and the moon", previous_response_id=first[-1].response.id)
        second = until(connection, "response.completed")
        assert "and the moon" in text(second)
        assert second[-1].response.usage.input_tokens > first[-1].response.usage.input_tokens


@pytest.mark.shows("A connection: tools")
def test_tools(client, named):
    tools = [{"type": "function", "name": tool["name"], "parameters": tool["parameters"], "strict": False} for tool in TOOLS]
    with client.responses.connect() as connection:
        connection.response.create(model=named("tools"), input="weather and tide?", tools=tools)
        output = until(connection, "response.completed")[-1].response.output
        calls = [item for item in output if item.type == "function_call"]
        assert [call.name for call in calls] == ["weather", "tide"]


@pytest.mark.third
@pytest.mark.shows("A connection: what is wrong with a call does not end it")
def test_errors(client, named):
    with client.responses.connect() as connection:
        for wrong, status, param in [({"model": "demo/none", "input": "x"}, 404, "model"), ({"input": "x"}, 400, "model"),
                                     ({"model": "demo/echo", "input": "x", "temperature": "hot"}, 400, "temperature"),
                                     ({"model": named("busy"), "input": "x"}, 429, None)]:
            connection.send({"type": "response.create", **wrong})
            event = refusal(connection)
            assert event["status"] == status and event["error"]["message"], event
            assert param is None or event["error"]["param"] == param
        connection.send({"type": "response.steer", "previous_response_id": "resp_1", "input": "x"})
        assert refusal(connection)["error"]["param"] == "type"
        connection.response.create(model=named("echo"), input="still here")
        assert "still here" in text(until(connection, "response.completed"))


@pytest.mark.shows("A connection: a death in mid-stream is an error")
def test_a_death_in_mid_stream(client, named):
    with client.responses.connect() as connection:
        connection.response.create(model=named("dies"), input="x")
        last = until(connection, "error", "response.failed", "response.completed")[-1]
        assert last.type in ("error", "response.failed")


@pytest.mark.shows("A connection: calls wait for one another")
def test_calls_wait(client, named):
    with client.responses.connect() as connection:
        for word in ("first", "second", "third"):
            connection.response.create(model=named("echo"), input=word)
        for word in ("first", "second", "third"):
            assert word in text(until(connection, "response.completed"))


@pytest.mark.shows("A connection: who closes it ends the call")
def test_closing_ends_the_call(client, marker):
    single = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=key("single"), max_retries=0)
    with single.responses.connect() as connection:
        connection.response.create(model="up/ok-t4000-d5", input=marker)
        for _ in range(5):
            connection.recv()
    # Its place is free again as soon as the call is over.
    for _ in range(200):
        try:
            assert single.responses.create(model="demo/echo", input="next").output_text
            return
        except openai.RateLimitError:
            time.sleep(0.05)
    raise AssertionError("the call goes on without its client")


@pytest.mark.third
@pytest.mark.shows("A connection: who has no key gets none")
def test_no_key():
    stranger = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key="tg-none", max_retries=0)
    if not hasattr(stranger.responses, "connect"):
        pytest.skip("this SDK has no connections for Responses")
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        stranger.responses.connect().enter()
    assert refused.value.response.status_code == 401

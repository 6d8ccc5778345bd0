"""OpenAI's SDK in a session over a WebSocket: turns of text and of sound, how it is opened, and how it ends."""

import asyncio
import base64

import openai
import pytest
import websockets
from speakers import GATEWAY, key

INGRESS = "chat"
MODEL = "demo/realtime"
SILENCE = base64.b64encode(bytes(4800)).decode()


def asked(text):
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def until(connection, kind):
    """The events up to one of this kind, which must come."""
    events = []
    for event in connection:
        events.append(event)
        if event.type == kind:
            return events
    raise AssertionError(f"no {kind} among {[event.type for event in events]}")


@pytest.fixture
def client():
    return openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=key(), max_retries=0)


@pytest.mark.third
@pytest.mark.shows("Realtime: turns of text")
def test_text_turns(client):
    with client.realtime.connect(model=MODEL) as connection:
        assert connection.recv().type == "session.created"
        connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        assert connection.recv().session.output_modalities == ["text"]
        for text in ["high water", "low water"]:
            connection.conversation.item.create(item=asked(text))
            connection.response.create()
            events = until(connection, "response.done")
            said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            done = events[-1].response
            assert text in said and done.output[0].content[0].text == said
            assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0


@pytest.mark.shows("Realtime: sound both ways")
def test_sound_both_ways(client):
    with client.realtime.connect(model=MODEL) as connection:
        for _ in range(4):
            connection.input_audio_buffer.append(audio=SILENCE)
        connection.input_audio_buffer.commit()
        connection.response.create()
        events = until(connection, "response.done")
        sound = b"".join(base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta")
        assert len(sound) > 2400 and len(sound) % 2400 == 0
        assert events[-1].response.usage.output_token_details.audio_tokens > 0
        assert "400 ms of sound" in events[-1].response.output[0].content[0].transcript


@pytest.mark.third
@pytest.mark.shows("Realtime: close codes")
def test_close_codes(client):
    with client.realtime.connect(model=MODEL) as connection:
        connection.conversation.item.create(item=asked("farewell [[close=4321]]"))
        connection.response.create()
        until(connection, "response.done")
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
            connection.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "as asked")


@pytest.mark.shows("Realtime: a provider that breaks off is an error")
def test_a_provider_that_breaks_off(client):
    with client.realtime.connect(model=MODEL) as connection:
        connection.conversation.item.create(item=asked("storm [[die=2]]"))
        connection.response.create()
        error = until(connection, "error")[-1].error
        assert error.message and error.type
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
            connection.recv()
        assert closed.value.rcvd.code == 1011


@pytest.mark.shows("Realtime: another model is not asked for in mid-session")
def test_another_model_is_refused(client):
    with client.realtime.connect(model=MODEL) as connection:
        connection.recv()
        connection.send({"type": "session.update", "event_id": "mine", "session": {"type": "realtime", "model": "demo/other"}})
        event = connection.recv()
        assert event.type == "error" and event.error.event_id == "mine" and event.error.param == "session.model"
        connection.session.update(session={"type": "realtime", "model": MODEL, "output_modalities": ["text"]})
        event = connection.recv()
        assert event.type == "session.updated" and event.session.output_modalities == ["text"], "and the session goes on"


def refused(key_name, model=MODEL):
    client = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=key_name, max_retries=0)
    with pytest.raises(websockets.exceptions.InvalidStatus) as refusal:
        client.realtime.connect(model=model).enter()
    return refusal.value.response


@pytest.mark.shows("Realtime: refusals come before the upgrade")
def test_refusals_come_before_the_upgrade(client):
    assert refused("tg_not_a_key").status_code == 401
    assert refused(key(), "demo/none").status_code == 404
    assert refused(key("narrow")).status_code in (403, 404)
    with openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=key("single"), max_retries=0).realtime.connect(model=MODEL) as connection:
        connection.recv()
        busy = refused(key("single"))
        assert busy.status_code == 429 and b"concurren" in busy.body


@pytest.mark.shows("Realtime: AzureOpenAI")
def test_azure(client):
    azure = openai.AzureOpenAI(azure_endpoint=GATEWAY, api_key=key(), api_version="2025-04-01-preview", max_retries=0,
                               websocket_base_url=GATEWAY.replace("http", "ws", 1) + "/openai")
    with azure.realtime.connect(model=MODEL) as connection:
        assert connection.recv().type == "session.created"


@pytest.mark.third
@pytest.mark.shows("Realtime: ten sessions at once, and clients that go away")
def test_many_at_once(client):
    async def session(number):
        speaks = openai.AsyncOpenAI(base_url=f"{GATEWAY}/v1", api_key=key(), max_retries=0)
        async with speaks.realtime.connect(model=MODEL) as connection:
            await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            await connection.conversation.item.create(item=asked(f"boat {number}."))
            await connection.response.create()
            said = ""
            async for event in connection:
                if event.type == "response.output_text.delta":
                    said += event.delta
                    if number % 3 == 0:
                        return f"boat {number}."
                if event.type == "response.done":
                    return said

    async def all_of_them():
        return await asyncio.gather(*(session(number) for number in range(10)))

    for number, said in enumerate(asyncio.run(all_of_them())):
        assert f"boat {number}." in said


@pytest.mark.shows("Realtime: the key as a subprotocol, as browsers send it")
def test_a_key_as_a_subprotocol():
    from websockets.sync.client import connect
    address = GATEWAY.replace("http", "ws", 1) + f"/v1/realtime?model={MODEL}"
    with connect(address, subprotocols=["realtime", f"openai-insecure-api-key.{key()}"]) as socket:
        assert socket.subprotocol == "realtime"
        assert "session.created" in socket.recv()

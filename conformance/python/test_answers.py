"""Good answers: whole, streamed, embedded, listed; what the client asked for and nothing it did not."""

import asyncio
import base64
import json
import struct

import openai
import pytest
from conftest import ask, make_async_client, make_client


def test_chat(client):
    answer = client.chat.completions.create(model="up/ok", messages=ask())
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 16
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 16


def test_a_demo_model_answers_without_an_account(client):
    answer = client.chat.completions.create(model="demo/echo", messages=ask("say it back"))
    assert "say it back" in answer.choices[0].message.content


def test_stream_is_the_whole_answer_in_parts(client):
    whole = client.chat.completions.create(model="demo/story", messages=ask("the sea"))
    parts = list(client.chat.completions.create(model="demo/story", messages=ask("the sea"), stream=True))
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == whole.choices[0].message.content
    assert [part.choices[0].finish_reason for part in parts if part.choices][-1] == "stop"
    assert len(parts) > 5


def test_the_usage_chunk_comes_only_if_asked_for(client, journal):
    def stream(**more):
        raw = client.chat.completions.with_raw_response.create(model="up/ok", messages=ask(), stream=True, **more)
        return raw.headers["x-request-id"], list(raw.parse())

    request_id, parts = stream(stream_options={"include_usage": True})
    assert parts[-1].choices == [] and parts[-1].usage.completion_tokens == 16
    request_id, parts = stream()
    assert all(part.usage is None for part in parts)
    assert all(part.choices for part in parts), "the chunk that holds only usage is ours to swallow"
    body = json.loads(journal.dispatches(request_id)[0]["body"])
    assert body["stream_options"]["include_usage"] is True, "we need it even if the client does not"


def test_embeddings_as_the_sdk_asks_by_default(client):
    answer = client.embeddings.create(model="demo/embed", input=["the sea", "the sea"])
    first, second = (item.embedding for item in answer.data)
    assert first == second and len(first) > 8 and all(isinstance(number, float) for number in first)
    assert answer.usage.prompt_tokens > 0


def test_embeddings_as_floats_and_as_base64_agree(client):
    floats = client.embeddings.create(model="demo/embed", input="the sea", encoding_format="float")
    packed = client.embeddings.with_raw_response.create(model="demo/embed", input="the sea", encoding_format="base64")
    raw = base64.b64decode(json.loads(packed.text if isinstance(packed.text, str) else packed.text())["data"][0]["embedding"])
    unpacked = struct.unpack(f"<{len(raw) // 4}f", raw)
    assert unpacked == pytest.approx(floats.data[0].embedding, rel=1e-6)


def test_completions(client):
    answer = client.completions.create(model="up/ok", prompt="once upon a time")
    assert answer.object == "text_completion" and answer.choices[0].text
    parts = list(client.completions.create(model="up/ok", prompt="once upon a time", stream=True))
    assert "".join(part.choices[0].text for part in parts if part.choices) == answer.choices[0].text


def test_models_are_listed_and_found(client):
    names = [model.id for model in client.models.list()]
    assert "demo/echo" in names and "chat" in names
    assert len([name for name in names if name.startswith("demo/")]) >= 10
    model = client.models.retrieve("demo/echo")
    assert (model.id, model.object) == ("demo/echo", "model")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("demo/ecco")
    assert caught.value.code == "model_not_found"


def test_a_narrow_key_sees_what_it_may_use():
    assert [model.id for model in make_client("narrow").models.list()] == ["demo/echo"]


def test_async():
    async def go():
        async with make_async_client() as client:
            whole = await client.chat.completions.create(model="up/ok", messages=ask())
            stream = await client.chat.completions.create(model="up/ok", messages=ask(), stream=True)
            text = "".join([part.choices[0].delta.content or "" async for part in stream if part.choices])
            assert text == whole.choices[0].message.content

    asyncio.run(go())


def test_fifty_streams_at_once_do_not_mix():
    async def one(client, n):
        word = f"only-{n:03d}-here"
        stream = await client.chat.completions.create(model="up/ok-echo-d5", messages=ask(" ".join([word] * 20)), stream=True)
        return word, "".join([part.choices[0].delta.content or "" async for part in stream if part.choices])

    async def go():
        async with make_async_client() as client:
            return await asyncio.gather(*(one(client, n) for n in range(50)))

    for word, text in asyncio.run(go()):
        assert word in text
        assert set(text.split()) <= {word}, f"{word} got words of others: {text}"


def test_tool_calls_streamed_through_the_helper(client):
    def tool(name):
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
                      "additionalProperties": False}
        return {"type": "function", "function": {"name": name, "strict": True, "parameters": parameters}}

    completions = client.chat.completions if hasattr(client.chat.completions, "stream") else client.beta.chat.completions
    with completions.stream(model="demo/tools", messages=ask("weather in Lisbon and Oslo"),
                            tools=[tool("weather"), tool("tide")]) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert final.choices[0].finish_reason == "tool_calls"
    assert sorted(call.function.name for call in calls) == ["tide", "weather"]
    assert len({call.id for call in calls}) == 2
    for call in calls:
        assert isinstance(json.loads(call.function.arguments)["city"], str)
    assert len(done) == 2


def test_parse_gives_an_object_of_the_asked_type(client):
    import pydantic

    class Ferry(pydantic.BaseModel):
        name: str
        seats: int
        open_deck: bool

    completions = client.chat.completions if hasattr(client.chat.completions, "parse") else client.beta.chat.completions
    answer = completions.parse(model="demo/json", messages=ask("a ferry"), response_format=Ferry)
    assert isinstance(answer.choices[0].message.parsed, Ferry)


def test_a_route_falls_back_before_the_first_byte(client):
    raw = client.chat.completions.with_raw_response.create(model="chat", messages=ask())
    assert raw.headers["x-tidegate-model"] == "up/ok"
    assert raw.headers["x-tidegate-attempts"] == "2"
    assert raw.parse().choices[0].message.content

"""OpenAI's SDK at its older door, against providers that speak something else; and the client for Azure."""

import json

import openai
import pydantic
import pytest
from conftest import AT_ONCE, FERRY, TOOLS
from speakers import GATEWAY, Chat, key, model

INGRESS = "chat"


class Ferry(pydantic.BaseModel):
    name: str
    seats: int


@pytest.fixture
def client():
    return Chat.make()


def ask(text="hello"):
    return [{"role": "user", "content": text + AT_ONCE}]


def create(client, name, **more):
    more.setdefault("messages", ask())
    return lambda: client.chat.completions.create(model=name, **more)


@pytest.mark.third
@pytest.mark.shows("Text and usage")
def test_text(client, named):
    answer = create(client, named("echo"), messages=ask("the tide"))()
    assert answer.object == "chat.completion" and "the tide" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@pytest.mark.third
@pytest.mark.shows("Stream equals the whole answer")
def test_a_stream_is_the_whole_answer(client, named):
    whole = create(client, named("story"), messages=ask("the sea"))()
    parts = list(create(client, named("story"), messages=ask("the sea"), stream=True)())
    assert "".join(part.choices[0].delta.content or "" for part in parts) == whole.choices[0].message.content
    assert parts[0].choices[0].delta.role == "assistant" and parts[-1].choices[0].finish_reason == "stop"
    assert all(part.usage is None for part in parts), "usage was not asked for"
    parts = list(create(client, named("story"), messages=ask("the sea"), stream=True,
                        stream_options={"include_usage": True})())
    assert parts[-1].choices == [] and parts[-1].usage == whole.usage


@pytest.mark.third
@pytest.mark.shows("Parallel tool calls")
def test_parallel_tools(speaker, named, stream):
    speaker.ask("weather and tide?" + AT_ONCE)
    said = speaker.answer(named("tools"), stream, tools=TOOLS)
    assert [call.name for call in said.calls] == ["weather", "tide"]
    assert len({call.id for call in said.calls}) == 2


@pytest.mark.shows("Tool indices count from 0 in a stream")
def test_tool_indices(client, named):
    tools = [{"type": "function", "function": tool} for tool in TOOLS]
    parts = create(client, named("tools"), tools=tools, stream=True)()
    calls = [call for part in parts for choice in part.choices for call in choice.delta.tool_calls or []]
    assert sorted({call.index for call in calls}) == [0, 1]
    assert len([call for call in calls if call.id]) == 2, "an id in the first piece of a call alone"


@pytest.mark.shows("parse() gives an object of the asked type")
def test_parse(client, named):
    answer = client.chat.completions.parse(model=named("json"), messages=ask("a ferry"), response_format=Ferry)
    assert isinstance(answer.choices[0].message.parsed, Ferry)


@pytest.mark.shows("Structured output")
def test_structured_output(speaker, named, stream):
    speaker.ask("a ferry" + AT_ONCE)
    assert set(json.loads(speaker.answer(named("json"), stream, schema=FERRY).text)) == {"name", "seats"}


@pytest.mark.shows("Tool choice: none, required, by name, of those allowed, one call only")
def test_tool_choice(client, named, egress):
    tools = [{"type": "function", "function": tool} for tool in TOOLS]

    def called(short, choice, **more):
        raw = client.chat.completions.with_raw_response.create(model=named(short), messages=ask(), tools=tools, tool_choice=choice, **more)
        calls = raw.parse().choices[0].message.tool_calls or []
        return [call.function.name for call in calls], raw.headers.get("x-tidegate-dropped", "")

    tide = {"type": "function", "function": {"name": "tide"}}
    assert called("tools", "none")[0] == [] == called("echo", "auto")[0]
    assert called("tools", "auto")[0] == ["weather", "tide"]
    assert called("echo", "required")[0] == ["weather"]
    assert called("echo", tide)[0] == ["tide"]
    assert called("echo", {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tide]}})[0] == ["tide"]
    calls, dropped = called("tools", "auto", parallel_tool_calls=False)
    # Gemini cannot be told so, and that is said.
    assert "parallel_tool_calls" in dropped if egress == "gemini" else calls == ["weather"]


@pytest.mark.shows("Three answers at once")
@pytest.mark.parametrize("egress", ["chat", "gemini"])
def test_several_answers(client, named, egress, stream):
    answer = create(client, named("story"), n=3, stream=stream)()
    texts = ["", "", ""]
    for choice in [choice for part in answer for choice in part.choices] if stream else answer.choices:
        texts[choice.index] += (choice.delta if stream else choice.message).content or ""
    assert all("story" in text for text in texts) and len(set(texts)) > 1


@pytest.mark.shows("Stop by length raises in parse()")
def test_length(client, named):
    assert create(client, named("story"), max_completion_tokens=5)().choices[0].finish_reason == "length"
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model=named("json"), messages=ask(), response_format=Ferry, max_completion_tokens=2)


@pytest.mark.shows("Stop by a filter raises in parse()")
def test_filter(client, named):
    assert create(client, named("filtered"))().choices[0].finish_reason == "content_filter"
    with pytest.raises(openai.ContentFilterFinishReasonError):
        client.chat.completions.parse(model=named("filtered"), messages=ask(), response_format=Ferry)


@pytest.mark.shows("A refusal")
@pytest.mark.parametrize("egress", ["chat", "messages"])
def test_refusal(client, named, stream):
    answer = create(client, named("refuse"), stream=stream)()
    if stream:
        parts = [choice for part in answer for choice in part.choices]
        refused = "".join(part.delta.refusal or "" for part in parts)
        said, finish = "".join(part.delta.content or "" for part in parts), parts[-1].finish_reason
    else:
        refused, said = answer.choices[0].message.refusal or "", answer.choices[0].message.content or ""
        finish = answer.choices[0].finish_reason
    assert refused or finish == "content_filter", (refused, said, finish)


@pytest.mark.shows("Comments in a stream while nothing else comes")
def test_comments(client, named):
    parts = list(create(client, named("pings"), stream=True)())
    assert len("".join(part.choices[0].delta.content or "" for part in parts if part.choices).split()) == 12


@pytest.mark.third
@pytest.mark.shows("Reasoning")
def test_reasoning(speaker, named, stream):
    speaker.ask("think")
    said = speaker.answer(named("think"), stream, think=True)
    assert said.thought and said.text


@pytest.mark.shows("Cached tokens within the prompt's")
def test_cached_tokens(speaker, named, stream):
    speaker.ask("again")
    usage = speaker.answer(named("cached"), stream).native.usage
    assert (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens) == (100, 40)


@pytest.mark.third
@pytest.mark.shows("An error in mid-stream raises")
@pytest.mark.parametrize("short", ["dies", "errs"])
def test_a_death_in_mid_stream(client, named, short):
    parts = []
    with pytest.raises(openai.APIError) as caught:
        parts.extend(create(client, named(short), stream=True)())
    assert caught.value.message and caught.value.body
    assert not any(part.choices and part.choices[0].finish_reason for part in parts)


@pytest.mark.shows("Errors of the upstream: 400, 429, 503")
@pytest.mark.parametrize("short,kind", [("wrong", openai.BadRequestError), ("busy", openai.RateLimitError),
                                        ("broken", openai.InternalServerError)])
def test_errors_of_the_upstream(client, named, short, kind, stream):
    with pytest.raises(kind) as caught:
        create(client, named(short), stream=stream)()
    assert type(caught.value) is kind and caught.value.body["message"]


@pytest.mark.third
@pytest.mark.shows("What cannot be said upstream is signalled; strict refuses it")
@pytest.mark.parametrize("egress", ["messages", "gemini"])
def test_dropped(client, egress):
    more = {"logit_bias": {"50256": -100}}
    raw = client.chat.completions.with_raw_response.create(model=model(egress, "echo"), messages=ask(), **more)
    assert "logit_bias" in raw.headers["x-tidegate-dropped"]
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, model(egress, "echo"), extra_headers={"x-tidegate-strict": "true"}, **more)()
    assert caught.value.param == "logit_bias"


@pytest.mark.third
@pytest.mark.shows("The older Completions")
@pytest.mark.parametrize("egress", ["chat", "messages", "gemini"])
def test_completions(client, named, egress):
    whole = client.completions.create(model=named("echo"), prompt="the tide [[pace=0]]", max_tokens=50)
    assert (whole.object, whole.choices[0].finish_reason) == ("text_completion", "stop")
    assert "the tide" in whole.choices[0].text and whole.usage.completion_tokens > 0
    parts = list(client.completions.create(model=named("story"), prompt=["the sea [[pace=0]]"], max_tokens=300, stream=True,
                                           stream_options={"include_usage": True}))
    assert "".join(part.choices[0].text for part in parts if part.choices) and parts[-1].usage.total_tokens > 0
    assert [part.choices[0].finish_reason for part in parts if part.choices][-1] in ("stop", "length")
    if egress != "chat":
        with pytest.raises(openai.BadRequestError) as refused:
            client.completions.create(model=named("echo"), prompt=["one", "two"])
        assert refused.value.param == "prompt"
        raw = client.completions.with_raw_response.create(model=named("echo"), prompt="x", echo=True, max_tokens=9)
        assert "echo" in raw.headers["x-tidegate-dropped"]



@pytest.mark.shows("What must not be dropped is refused by name")
@pytest.mark.parametrize("egress", ["messages"])
def test_refused(client, egress):
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, model(egress, "echo"), n=2)()
    assert caught.value.param == "n"


@pytest.mark.third
@pytest.mark.shows("AzureOpenAI: path, api-key header and api-version")
def test_azure(named, stream):
    client = openai.AzureOpenAI(azure_endpoint=GATEWAY, api_key=key(), api_version="2026-06-01", max_retries=0)
    text = "the tide"
    answer = client.chat.completions.create(model=named("echo"), messages=ask(text), stream=stream)
    if stream:
        answer = "".join(part.choices[0].delta.content or "" for part in answer if part.choices)
        assert text in answer
    else:
        assert text in answer.choices[0].message.content
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="demo/ecco", messages=ask())


@pytest.mark.shows("Annotations")
@pytest.mark.parametrize("egress", ["chat"])
def test_annotations(client, egress, stream):
    noted = [{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 4, "url": "https://tides.invalid", "title": "Tides"}}]
    shared = {"id": "c1", "created": 1, "model": "m", "object": "chat.completion.chunk" if stream else "chat.completion"}
    if stream:
        choices = [{"delta": {"role": "assistant", "content": "high"}}, {"delta": {"annotations": noted}}, {"delta": {}, "finish_reason": "stop"}]
        fake = {"events": [*(f"data: {json.dumps({**shared, 'choices': [{'index': 0, **choice}]})}\n\n" for choice in choices), "data: [DONE]\n\n"]}
        parts = create(client, "up/ok", stream=True, extra_body={"fake": fake})()
        assert [one for part in parts for one in (part.choices[0].delta.model_extra or {}).get("annotations") or []] == noted
        return
    message = {"role": "assistant", "content": "high", "annotations": noted}
    body = json.dumps({**shared, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                       "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})
    answer = create(client, "up/ok", extra_body={"fake": {"body": body}})()
    assert [one.model_dump(exclude_none=True) for one in answer.choices[0].message.annotations] == noted

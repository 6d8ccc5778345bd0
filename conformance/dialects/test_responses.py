"""OpenAI's SDK at its newer door: responses whole, streamed and parsed; tools; reasoning; errors."""

import json

import openai
import pydantic
import pytest
from conftest import AT_ONCE, FERRY, TOOLS
from speakers import Responses, model

INGRESS = "responses"


class Ferry(pydantic.BaseModel):
    name: str
    seats: int


@pytest.fixture
def client():
    return Responses.make()


def create(client, name, text="hello", **more):
    return lambda: client.responses.create(model=name, input=text + AT_ONCE, store=False, **more)


@pytest.mark.third
@pytest.mark.shows("Text and usage")
def test_text(client, named):
    answer = create(client, named("echo"), "the tide")()
    assert (answer.object, answer.status) == ("response", "completed")
    assert "the tide" in answer.output_text
    usage = answer.usage
    assert usage.input_tokens > 0 and usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens_details.cached_tokens == 0 and usage.output_tokens_details.reasoning_tokens == 0


@pytest.mark.third
@pytest.mark.shows("Stream helper equals the whole answer")
def test_the_helper_folds_to_the_whole_answer(client, named):
    whole = create(client, named("story"), "the sea")()
    with client.responses.stream(model=named("story"), input="the sea" + AT_ONCE, store=False) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert final.usage.output_tokens == whole.usage.output_tokens
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"
    numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
    assert numbers == sorted(set(numbers)), "strictly rising"
    assert {event.response.id for event in events if hasattr(event, "response")} == {final.id}


@pytest.mark.third
@pytest.mark.shows("Parallel tool calls")
def test_parallel_tools(speaker, named, stream):
    speaker.ask("weather and tide?" + AT_ONCE)
    said = speaker.answer(named("tools"), stream, tools=TOOLS)
    assert [call.name for call in said.calls] == ["weather", "tide"]
    assert len({call.id for call in said.calls}) == 2
    assert len({item.id for item in said.native.output}) == len(said.native.output)


@pytest.mark.shows("parse() gives an object of the asked type")
def test_parse(client, named, stream):
    if stream:
        with client.responses.stream(model=named("json"), input="a ferry" + AT_ONCE, store=False, text_format=Ferry) as events:
            answer = events.until_done().get_final_response()
    else:
        answer = client.responses.parse(model=named("json"), input="a ferry" + AT_ONCE, store=False, text_format=Ferry)
    assert isinstance(answer.output_parsed, Ferry)


@pytest.mark.shows("Structured output")
def test_structured_output(speaker, named, stream):
    speaker.ask("a ferry" + AT_ONCE)
    assert set(json.loads(speaker.answer(named("json"), stream, schema=FERRY).text)) == {"name", "seats"}


@pytest.mark.shows("Stop by length")
def test_length(speaker, named, stream):
    answer = create(speaker.client, named("story"), "the sea", max_output_tokens=20, stream=stream)()
    if stream:  # the helper of this SDK knows completed answers alone
        last = list(answer)[-1]
        assert last.type == "response.incomplete"
        answer = last.response
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@pytest.mark.shows("Tool choice: none, required, by name, of those allowed, one call only")
def test_tool_choice(client, named, egress):
    tools = [{"type": "function", "strict": False, **tool} for tool in TOOLS]

    def called(short, choice, **more):
        answer = create(client, named(short), tools=tools, tool_choice=choice, **more)()
        return [item.name for item in answer.output if item.type == "function_call"]

    tide = {"type": "function", "name": "tide"}
    assert called("tools", "none") == [] == called("echo", "auto")
    assert called("tools", "auto") == ["weather", "tide"]
    assert called("echo", "required") == ["weather"]
    assert called("echo", tide) == ["tide"]
    assert called("echo", {"type": "allowed_tools", "mode": "required", "tools": [tide]}) == ["tide"]
    if egress != "gemini":  # which cannot be told so
        assert called("tools", "auto", parallel_tool_calls=False) == ["weather"]


@pytest.mark.third
@pytest.mark.shows("Reasoning")
def test_reasoning(speaker, named, stream):
    speaker.ask("think")
    said = speaker.answer(named("think"), stream, think=True)
    assert said.thought and said.text
    assert [item.type for item in said.native.output] == ["reasoning", "message"]


@pytest.mark.shows("Cached tokens within the input's")
def test_cached_tokens(speaker, named, stream):
    speaker.ask("again")
    usage = speaker.answer(named("cached"), stream).native.usage
    assert (usage.input_tokens, usage.input_tokens_details.cached_tokens) == (100, 40)


@pytest.mark.third
@pytest.mark.shows("An error in mid-stream is response.failed")
@pytest.mark.parametrize("short", ["dies", "errs"])
def test_a_death_in_mid_stream(client, named, short):
    events = list(create(client, named(short), stream=True)())
    assert events[-1].type == "response.failed" and events[-1].response.error.message
    assert events[-1].response.status == "failed"
    assert not any(event.type == "response.completed" for event in events)


@pytest.mark.shows("Errors of the upstream: 400, 429, 503")
@pytest.mark.parametrize("short,kind", [("wrong", openai.BadRequestError), ("busy", openai.RateLimitError),
                                        ("broken", openai.InternalServerError)])
def test_errors_of_the_upstream(client, named, short, kind, stream):
    with pytest.raises(kind) as caught:
        create(client, named(short), stream=stream)()
    assert type(caught.value) is kind and caught.value.body["message"] and caught.value.request_id


@pytest.mark.third
@pytest.mark.shows("Errors of the gateway: 400, 401, 403, 404")
def test_errors_of_the_gateway(client):
    for who, name, kind in [(openai.OpenAI(base_url=client.base_url, api_key="tg-" + "A" * 38, max_retries=0), "demo/echo",
                             openai.AuthenticationError), (client, "demo/ecco", openai.NotFoundError),
                            (Responses.make("narrow"), "up/ok", openai.PermissionDeniedError)]:
        with pytest.raises(kind) as caught:
            create(who, name)()
        assert caught.value.code
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, "demo/echo", extra_body={"input": 7})()
    assert caught.value.param == "input"


@pytest.mark.third
@pytest.mark.shows("What cannot be said upstream is signalled; strict refuses it")
@pytest.mark.parametrize("egress", ["chat", "messages", "gemini"])
def test_dropped(client, egress):
    more = {"truncation": "auto"}
    raw = client.responses.with_raw_response.create(model=model(egress, "echo"), input="hello" + AT_ONCE, store=False, **more)
    assert "truncation" in raw.headers["x-tidegate-dropped"]
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, model(egress, "echo"), extra_headers={"x-tidegate-strict": "true"}, **more)()
    assert "truncation" in caught.value.message

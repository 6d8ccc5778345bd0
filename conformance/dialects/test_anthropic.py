"""Anthropic's SDK: messages whole, streamed and through its helper; tools; errors of the right class; lists."""

import inspect

import anthropic
import pytest
from conftest import AT_ONCE, FERRY, TOOLS
from speakers import GATEWAY, Messages, key, model

INGRESS = "messages"


def ask(text):
    return [{"role": "user", "content": text + AT_ONCE}]


def refused(kind, call):
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    assert type(error) is kind, f"{type(error).__name__} is not {kind.__name__}: {error}"
    assert error.body["type"] == "error" and error.body["error"]["type"] and error.body["error"]["message"]
    return error


def create(client, name, **more):
    more.setdefault("messages", ask("hello"))
    more.setdefault("max_tokens", 100)
    return lambda: client.messages.create(model=name, **more)


@pytest.fixture
def client():
    return Messages.make()


@pytest.mark.third
@pytest.mark.shows("Text and usage")
def test_text(client, named, egress):
    answer = create(client, named("echo"), messages=ask("the tide"))()
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert [block.type for block in answer.content] == ["text"] and "the tide" in answer.content[0].text
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    assert answer.id.startswith("msg_") and answer._request_id


@pytest.mark.third
@pytest.mark.shows("Stream helper equals the whole answer")
def test_the_helper_folds_to_the_whole_answer(client, named):
    whole = create(client, named("story"), messages=ask("the sea"), max_tokens=500)()
    with client.messages.stream(model=named("story"), messages=ask("the sea"), max_tokens=500) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert final.content[0].text == whole.content[0].text
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    assert final.usage.input_tokens == whole.usage.input_tokens
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 1


@pytest.mark.shows("Raw events in the documented order")
def test_raw_events(client, named):
    kinds = [event.type for event in create(client, named("echo"), stream=True)() if event.type != "ping"]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


@pytest.mark.shows("Parallel tool calls")
def test_parallel_tools(speaker, named, stream):
    speaker.ask("weather and tide?" + AT_ONCE)
    said = speaker.answer(named("tools"), stream, tools=TOOLS)
    assert [call.name for call in said.calls] == ["weather", "tide"]
    assert len({call.id for call in said.calls}) == 2
    assert all(isinstance(call.arguments["city"], str) for call in said.calls)
    assert said.native.stop_reason == "tool_use"


@pytest.mark.shows("Tool results with is_error")
def test_a_result_that_is_an_error(client, named):
    tools = [{"name": "weather", "description": "d", "input_schema": TOOLS[0]["parameters"]}]
    first = create(client, named("tools"), tools=tools)()
    call = first.content[0]
    history = [*ask("hello"), {"role": "assistant", "content": first.content}, {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": call.id, "is_error": True, "content": "no such city"}]}]
    answer = create(client, named("tools"), tools=tools, messages=history)()
    assert "no such city" in answer.content[0].text and answer.stop_reason == "end_turn"


@pytest.mark.shows("Forced tool, one call only")
def test_a_forced_tool(client, named):
    tools = [{"name": tool["name"], "description": "d", "input_schema": tool["parameters"]} for tool in TOOLS]
    answer = create(client, named("echo"), tools=tools, tool_choice={"type": "tool", "name": "tide"})()
    assert [block.name for block in answer.content] == ["tide"] and answer.stop_reason == "tool_use"


@pytest.mark.third
@pytest.mark.shows("Stop by length")
def test_length(speaker, named, stream):
    speaker.ask("the sea" + AT_ONCE)
    assert speaker.answer(named("story"), stream, limit=5).native.stop_reason == "max_tokens"


@pytest.mark.shows("Stop sequence")
def test_stop_sequence(client, named):
    answer = create(client, named("echo"), messages=ask("one two three"), stop_sequences=["two"])()
    assert "one" in answer.content[0].text and "two" not in answer.content[0].text


@pytest.mark.shows("Structured output")
def test_structured_output(speaker, named, stream):
    speaker.ask("a ferry" + AT_ONCE)
    import json
    assert set(json.loads(speaker.answer(named("json"), stream, schema=FERRY).text)) == {"name", "seats"}


@pytest.mark.shows("Reasoning")
def test_thinking(speaker, named, stream):
    speaker.ask("think")
    said = speaker.answer(named("think"), stream, think=True)
    assert said.thought and said.text
    assert said.native.content[0].type == "thinking", "thought comes before the answer"


@pytest.mark.shows("Cached tokens apart from the others")
def test_cached_tokens(speaker, named, stream):
    speaker.ask("again")
    usage = speaker.answer(named("cached"), stream).native.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (60, 40)


@pytest.mark.third
@pytest.mark.shows("An error in mid-stream raises")
@pytest.mark.parametrize("short", ["dies", "errs"])
def test_a_death_in_mid_stream(client, named, short):
    parts = []

    def read():
        with client.messages.stream(model=named(short), messages=ask("hello"), max_tokens=100) as stream:
            parts.extend(stream)

    with pytest.raises(anthropic.APIStatusError) as caught:
        read()
    assert caught.value.body["error"]["type"], caught.value
    assert parts and not any(part.type == "message_stop" for part in parts)


@pytest.mark.shows("Errors of the upstream: 400, 429, 503")
@pytest.mark.parametrize("short,kind", [("wrong", anthropic.BadRequestError), ("busy", anthropic.RateLimitError),
                                        ("broken", anthropic.APIStatusError)])
def test_errors_of_the_upstream(client, named, short, kind, stream):
    with pytest.raises(kind) as caught:
        create(client, named(short), stream=stream)()
    error = caught.value
    assert error.status_code == {"wrong": 400, "busy": 429}.get(short, error.status_code)
    if short == "broken":
        assert error.status_code in (503, 529)
    assert error.body["type"] == "error" and error.body["error"]["message"]


@pytest.mark.third
@pytest.mark.shows("Errors of the gateway: 400, 401, 403, 404, 429, 402")
def test_errors_of_the_gateway(client):
    stranger = Messages.make(api_key="tg-" + "A" * 38)
    assert refused(anthropic.AuthenticationError, create(stranger, "demo/echo")).body["error"]["type"] == "authentication_error"
    assert refused(anthropic.NotFoundError, create(client, "demo/ecco")).body["error"]["type"] == "not_found_error"
    refused(anthropic.PermissionDeniedError, create(Messages.make("narrow"), "up/ok"))
    refused(anthropic.BadRequestError, create(client, "demo/echo", messages=[{"role": "nobody", "content": "x"}]))
    hasty = Messages.make("hasty")
    try:
        create(hasty, "demo/echo")()
    except anthropic.RateLimitError:
        pass  # another test was first
    error = refused(anthropic.RateLimitError, create(hasty, "demo/echo"))
    assert int(error.response.headers["retry-after"]) <= 60
    poor = refused(anthropic.APIStatusError if not hasattr(anthropic, "PaymentRequiredError") else
                   anthropic.PaymentRequiredError, create(Messages.make("poor", max_retries=3), "up/ok", max_tokens=1000))
    assert poor.status_code == 402 and poor.body["error"]["type"] == "billing_error"


@pytest.mark.third
@pytest.mark.shows("Both ways to send the key")
@pytest.mark.parametrize("way", ["x-api-key", "bearer"])
def test_both_auth_headers(way):
    client = anthropic.Anthropic(base_url=GATEWAY, auth_token=key(), max_retries=0) if way == "bearer" else Messages.make()
    headers = {} if way == "bearer" else {"x-api-key": key(), "authorization": anthropic.Omit() if hasattr(
        anthropic, "Omit") else anthropic.NOT_GIVEN}
    answer = client.messages.create(model="demo/echo", max_tokens=50, messages=ask("hello"), extra_headers=headers)
    assert answer.content


@pytest.mark.shows("Both API versions")
@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_both_versions(client, named, version):
    answer = create(client, named("echo"), extra_headers={"anthropic-version": version})()
    assert answer.content


@pytest.mark.shows("Temperatures, whole and between")
@pytest.mark.parametrize("egress", ["messages", "gemini"])
@pytest.mark.parametrize("temperature", [None, 0, 0.5, 1])
def test_temperatures(client, named, egress, temperature, record, marker):
    if egress == "messages" and "temperature" not in inspect.signature(client.messages.create).parameters:
        pytest.skip("this SDK knows no temperatures, and what is sent is held against its types")
    create(client, named("plain"), messages=ask(marker), extra_body={} if temperature is None else {"temperature": temperature})()
    [body] = record.bodies(marker)
    assert (body["generationConfig"] if egress == "gemini" else body).get("temperature") == temperature


@pytest.mark.shows("Headers of beta features reach Anthropic and nobody else")
@pytest.mark.parametrize("egress", ["messages", "gemini"])
def test_betas(client, egress, record, marker):
    client.beta.messages.create(model=model(egress, "plain"), max_tokens=50, messages=ask(marker), betas=["tides-2026-01-01", "ebb-2026-02-02"])
    [request] = record.requests(marker)
    told = request["headers"].get("anthropic-beta")
    assert told == ("tides-2026-01-01,ebb-2026-02-02" if egress == "messages" else None)


@pytest.mark.third
@pytest.mark.shows("List of models in the SDK's shape")
@pytest.mark.parametrize("mount", ["", "/anthropic"])
def test_models(mount):
    client = Messages.make(base_url=GATEWAY + mount)
    models = {one.id: one for one in client.models.list(limit=1000)}
    assert models["demo/echo"].type == "model" and models["demo/echo"].display_name
    assert models["demo/echo"].created_at.year >= 1970
    assert client.models.retrieve("demo/echo").id == "demo/echo"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("demo/ecco")


@pytest.mark.third
@pytest.mark.shows("What cannot be said upstream is signalled; strict refuses it")
@pytest.mark.parametrize("egress", ["chat", "gemini"])
def test_dropped(client, egress):
    body = {"top_k": 5} if egress == "chat" else {"container": "c_1"}
    field = next(iter(body))
    raw = client.messages.with_raw_response.create(model=model(egress, "echo"), max_tokens=50, messages=ask("hello"),
                                                   extra_body=body)
    assert field in raw.headers["x-tidegate-dropped"].replace(" ", "").split(",")
    error = refused(anthropic.BadRequestError, create(client, model(egress, "echo"), extra_body=body,
                                                      extra_headers={"x-tidegate-strict": "true"}))
    assert field in error.body["error"]["message"]


@pytest.mark.third
@pytest.mark.shows("A body that is too large, an overloaded provider")
def test_rarer_errors(named):
    with pytest.raises(anthropic.RequestTooLargeError if hasattr(anthropic, "RequestTooLargeError") else anthropic.APIStatusError) as large:
        create(Messages.make(), named("plain"), messages=ask("x" * 70_000_000))()
    assert (large.value.status_code, large.value.body["error"]["type"]) == (413, "request_too_large")
    with pytest.raises(anthropic.APIStatusError) as busy:
        create(Messages.make(), named("broken"))()
    assert (busy.value.status_code, busy.value.body["error"]["type"]) == (529, "overloaded_error")


@pytest.mark.shows("Pings and comments in a stream while nothing else comes")
def test_pings(client, named):
    with client.messages.stream(model=named("pings"), messages=ask("hello"), max_tokens=100) as stream:
        assert len("".join(stream.text_stream).split()) == 12

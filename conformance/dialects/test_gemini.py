"""Google's SDK: content whole and streamed, at each version of the API; functions; errors; lists."""

import json

import pytest
from conftest import AT_ONCE, FERRY, TOOLS
from google.genai import errors
from google.genai import types as kinds
from speakers import GATEWAY, Gemini, model

INGRESS = "gemini"


@pytest.fixture
def client():
    return Gemini.make()


def refused(kind, status, call):
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    assert error.code == status and error.status and error.message, error
    return error


def generate(client, name, text="hello", **config):
    return lambda: client.models.generate_content(model=name, contents=text + AT_ONCE,
                                                  config=kinds.GenerateContentConfig(**config))


def streamed(client, name, text="hello", **config):
    return lambda: list(client.models.generate_content_stream(model=name, contents=text + AT_ONCE,
                                                              config=kinds.GenerateContentConfig(**config)))


@pytest.mark.third
@pytest.mark.shows("Text and usage")
def test_text(client, named):
    answer = generate(client, named("echo"), "the tide")()
    assert "the tide" in answer.text
    assert answer.candidates[0].finish_reason.name == "STOP"
    usage = answer.usage_metadata
    assert usage.prompt_token_count > 0 and usage.candidates_token_count > 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count


@pytest.mark.third
@pytest.mark.shows("Stream equals the whole answer")
def test_a_stream_is_the_whole_answer(client, named):
    whole = generate(client, named("story"), "the sea")()
    parts = streamed(client, named("story"), "the sea")()
    assert "".join(part.text or "" for part in parts) == whole.text
    assert len(parts) > 5
    finish = [part.candidates[0].finish_reason for part in parts if part.candidates]
    assert finish[-1].name == "STOP" and not any(finish[:-1])
    mine, theirs = parts[-1].usage_metadata, whole.usage_metadata
    assert (mine.prompt_token_count, mine.candidates_token_count) == (theirs.prompt_token_count,
                                                                      theirs.candidates_token_count)


@pytest.mark.shows("Versions v1, v1beta, v1beta1, and the mount")
@pytest.mark.parametrize("version", ["v1", "v1beta", "v1beta1"])
@pytest.mark.parametrize("mount", ["", "/gemini"])
def test_versions(version, mount):
    client = Gemini.make(api_version=version)
    client._api_client._http_options.base_url = GATEWAY + mount
    assert generate(client, "demo/echo", "the tide")().text
    assert streamed(client, "demo/echo", "the tide")()


@pytest.mark.third
@pytest.mark.shows("Parallel function calls")
def test_parallel_functions(speaker, named, stream):
    speaker.ask("weather and tide?" + AT_ONCE)
    said = speaker.answer(named("tools"), stream, tools=TOOLS)
    assert [call.name for call in said.calls] == ["weather", "tide"]
    assert all(isinstance(call.arguments["city"], str) for call in said.calls)


@pytest.mark.shows("Function results without ids")
def test_results_without_ids(speaker, named):
    speaker.ask("weather and tide?" + AT_ONCE)
    calls = speaker.answer(named("tools"), False, tools=TOOLS).calls
    for call in calls:
        call.id = None
    for content in speaker.history:
        for part in content.parts:
            if part.function_call:
                part.function_call.id = None
    speaker.results([(calls[0], {"celsius": 9}), (calls[1], {"metres": 2})])
    text = speaker.answer(named("tools"), False, tools=TOOLS).text
    assert "celsius" in text and "metres" in text


@pytest.mark.shows("Forced function")
def test_a_forced_function(speaker, named):
    speaker.ask("weather?" + AT_ONCE)
    said = speaker.answer(named("echo"), False, tools=TOOLS[:1], choice="required")
    assert [call.name for call in said.calls] == ["weather"]


@pytest.mark.shows("Automatic function calling")
def test_automatic_functions(client, named):
    asked = []

    def weather(city: str) -> dict:
        """Tells the weather."""
        asked.append(city)
        return {"celsius": 21}

    answer = client.models.generate_content(model=named("tools"), contents="weather?" + AT_ONCE,
                                            config=kinds.GenerateContentConfig(tools=[weather]))
    assert len(asked) == 1 and "21" in answer.text


@pytest.mark.shows("Stop by length")
def test_length(client, named):
    answer = generate(client, named("story"), max_output_tokens=5)()
    assert answer.candidates[0].finish_reason.name == "MAX_TOKENS"
    assert streamed(client, named("story"), max_output_tokens=5)()[-1].candidates[0].finish_reason.name == "MAX_TOKENS"


@pytest.mark.shows("Structured output")
def test_structured_output(speaker, named, stream):
    speaker.ask("a ferry" + AT_ONCE)
    assert set(json.loads(speaker.answer(named("json"), stream, schema=FERRY).text)) == {"name", "seats"}


@pytest.mark.shows("Structured output by a class (response_schema)")
def test_response_schema(client, named):
    import pydantic

    class Ferry(pydantic.BaseModel):
        name: str
        seats: int

    answer = generate(client, named("json"), "a ferry", response_mime_type="application/json", response_schema=Ferry)()
    assert isinstance(answer.parsed, Ferry)


@pytest.mark.shows("Reasoning")
def test_thoughts(speaker, named, stream):
    speaker.ask("think")
    said = speaker.answer(named("think"), stream, think=True)
    assert said.thought and said.text


@pytest.mark.shows("Cached tokens within the prompt's")
def test_cached_tokens(speaker, named, stream):
    speaker.ask("again")
    usage = speaker.answer(named("cached"), stream).native.usage_metadata
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (100, 40)


@pytest.mark.third
@pytest.mark.shows("An error in mid-stream raises")
@pytest.mark.parametrize("short", ["dies", "errs"])
def test_a_death_in_mid_stream(client, named, short):
    with pytest.raises(errors.APIError) as caught:
        streamed(client, named(short))()
    assert caught.value.message


@pytest.mark.shows("Errors of the upstream: 400, 429, 503")
@pytest.mark.parametrize("short,status", [("wrong", 400), ("busy", 429), ("broken", 503)])
def test_errors_of_the_upstream(client, named, short, status, stream):
    kind = errors.ServerError if status >= 500 else errors.ClientError
    refused(kind, status, (streamed if stream else generate)(client, named(short)))


@pytest.mark.third
@pytest.mark.shows("Errors of the gateway: 400, 401, 403, 404, 429")
def test_errors_of_the_gateway(client):
    from google import genai

    stranger = genai.Client(api_key="tg-" + "A" * 38, http_options=kinds.HttpOptions(base_url=GATEWAY))
    assert refused(errors.ClientError, 401, generate(stranger, "demo/echo")).status == "UNAUTHENTICATED"
    assert refused(errors.ClientError, 404, generate(client, "demo/ecco")).status == "NOT_FOUND"
    assert refused(errors.ClientError, 403, generate(Gemini.make("narrow"), "up/ok")).status == "PERMISSION_DENIED"
    poor = refused(errors.ClientError, 429, generate(Gemini.make("poor"), "up/ok", max_output_tokens=1000))
    assert poor.status == "RESOURCE_EXHAUSTED"
    assert refused(errors.ClientError, 400, lambda: client.models.generate_content(
        model="demo/echo", contents=[kinds.Content(role="nobody", parts=[kinds.Part(text="x")])])).status == "INVALID_ARGUMENT"


@pytest.mark.third
@pytest.mark.shows("List of models in the SDK's shape")
@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_models(version):
    client = Gemini.make(api_version=version)
    models = {one.name: one for one in client.models.list()}
    assert "generateContent" in models["models/demo/echo"].supported_actions
    assert client.models.get(model="demo/echo").name == "models/demo/echo"
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="demo/ecco")
    assert caught.value.code == 404 and caught.value.status == "NOT_FOUND"


@pytest.mark.third
@pytest.mark.shows("What cannot be said upstream is signalled; strict refuses it")
@pytest.mark.parametrize("egress", ["chat", "messages"])
def test_dropped(client, egress):
    config = {"top_k": 5} if egress == "chat" else {"seed": 7}
    field = {"top_k": "topK", "seed": "seed"}[next(iter(config))]
    answer = generate(client, model(egress, "echo"), **config)()
    dropped = answer.sdk_http_response.headers["x-tidegate-dropped"]
    assert field.lower() in dropped.lower().replace("_", ""), dropped
    options = kinds.HttpOptions(headers={"x-tidegate-strict": "true"})
    refused(errors.ClientError, 400, generate(client, model(egress, "echo"), http_options=options, **config))

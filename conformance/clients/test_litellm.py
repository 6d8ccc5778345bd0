"""LiteLLM as a client: of OpenAI's dialect and of Anthropic's."""

import litellm
import pytest
from conftest import AT_ONCE, KEY, URL, model

PACKAGE = "litellm"
INGRESSES = ["chat", "messages"]
litellm.telemetry = False
litellm.drop_params = False
TOOLS = [{"type": "function", "function": {"name": name, "description": f"Tells the {name}.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}} for name in ("weather", "tide")]


def ask(ingress, name, messages, stream=False, **more):
    way = {"model": f"openai/{name}", "api_base": f"{URL}/v1"} if ingress == "chat" else {
        "model": f"anthropic/{name}", "api_base": URL, "max_tokens": 500}
    answer = litellm.completion(messages=messages, api_key=KEY, num_retries=0, max_retries=0, stream=stream, **way, **more)
    if stream:
        answer = litellm.stream_chunk_builder(list(answer), messages=messages)
    return answer


def user(text):
    return {"role": "user", "content": text + AT_ONCE}


@pytest.mark.third
@pytest.mark.shows("Text and usage")
def test_text(ingress, named, stream):
    more = {"stream_options": {"include_usage": True}} if stream and ingress == "chat" else {}
    answer = ask(ingress, named("echo"), [{"role": "system", "content": "Be brief."}, user("the tide")], stream, **more)
    assert "the tide" in answer.choices[0].message.content and answer.usage.prompt_tokens > 0


@pytest.mark.shows("Tool round trip with parallel calls")
def test_tools(ingress, named, stream):
    messages = [user("weather and tide?")]
    said = ask(ingress, named("tools"), messages, stream, tools=TOOLS).choices[0].message
    assert [call.function.name for call in said.tool_calls] == ["weather", "tide"]
    messages += [said.model_dump(exclude_none=True), *({"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in said.tool_calls)]
    assert ask(ingress, named("tools"), messages, stream, tools=TOOLS).choices[0].message.content


@pytest.mark.shows("Errors of the upstream")
def test_errors(ingress, named):
    with pytest.raises(litellm.RateLimitError):
        ask(ingress, named("busy"), [user("x")])
    with pytest.raises(litellm.BadRequestError):
        ask(ingress, named("wrong"), [user("x")])


@pytest.mark.shows("Responses")
@pytest.mark.parametrize("egress", ["chat", "responses", "messages", "gemini"])
def test_responses(egress):
    answer = litellm.responses(model=f"openai/{model(egress, 'echo')}", api_base=f"{URL}/v1", api_key=KEY, input="the tide" + AT_ONCE)
    assert "the tide" in answer.output[0].content[0].text

"""LangChain's model for OpenAI, at Chat Completions and at Responses."""

import openai
import pytest
from conftest import AT_ONCE, KEY, URL, Ferry
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

PACKAGE = "langchain-openai"
INGRESSES = ["chat", "responses"]


@tool
def weather(city: str) -> str:
    """Tells the weather."""
    return f"fine in {city}"


@tool
def tide(city: str) -> str:
    """Tells the tide."""
    return f"high in {city}"


def client(ingress, name, **more):
    return ChatOpenAI(model=name, base_url=f"{URL}/v1", api_key=KEY, max_retries=0,
                      use_responses_api=ingress == "responses", **more)


def answer(llm, messages, stream):
    if not stream:
        return llm.invoke(messages)
    whole = None
    for chunk in llm.stream(messages):
        whole = chunk if whole is None else whole + chunk
    return whole


@pytest.mark.third
@pytest.mark.shows("Text and usage")
def test_text(ingress, named, stream):
    said = answer(client(ingress, named("echo"), stream_usage=True),
                  [SystemMessage("Be brief."), HumanMessage("the tide" + AT_ONCE)], stream)
    assert "the tide" in said.text
    usage = said.usage_metadata
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0


@pytest.mark.shows("Tool round trip with parallel calls")
def test_tools(ingress, named, stream):
    llm = client(ingress, named("tools")).bind_tools([weather, tide])
    messages = [HumanMessage("weather and tide?" + AT_ONCE)]
    said = answer(llm, messages, stream)
    assert [call["name"] for call in said.tool_calls] == ["weather", "tide"]
    assert all(isinstance(call["args"]["city"], str) for call in said.tool_calls)
    known = {"weather": weather, "tide": tide}
    messages += [said, *(ToolMessage(known[call["name"]].invoke(call["args"]), tool_call_id=call["id"])
                         for call in said.tool_calls)]
    last = answer(llm, messages, stream)
    assert last.text and not last.tool_calls


@pytest.mark.shows("Structured output")
def test_structured_output(ingress, named):
    llm = client(ingress, named("json")).with_structured_output(Ferry, method="json_schema")
    assert isinstance(llm.invoke("a ferry" + AT_ONCE), Ferry)


@pytest.mark.shows("Structured output by a function")
def test_structured_output_by_a_function(named):
    llm = client("chat", named("echo")).with_structured_output(Ferry, method="function_calling")
    assert isinstance(llm.invoke("a ferry" + AT_ONCE), Ferry)


@pytest.mark.shows("Images")
def test_images(ingress, named):
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    message = HumanMessage([{"type": "text", "text": "what is it?" + AT_ONCE},
                            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{dot}"}}])
    assert client(ingress, named("vision")).invoke([message]).text


@pytest.mark.shows("Errors of the upstream")
def test_errors(ingress, named):
    with pytest.raises(openai.RateLimitError):
        client(ingress, named("busy")).invoke("x")
    with pytest.raises(openai.BadRequestError):
        client(ingress, named("wrong")).invoke("x")

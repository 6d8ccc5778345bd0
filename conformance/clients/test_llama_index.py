"""LlamaIndex's model for servers that speak like OpenAI."""

import pytest
from conftest import AT_ONCE, KEY, URL, Ferry
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

PACKAGE = "llama-index-llms-openai-like"
INGRESSES = ["chat"]


def client(name, **more):
    return OpenAILike(model=name, api_base=f"{URL}/v1", api_key=KEY, is_chat_model=True, max_retries=0,
                      is_function_calling_model=True, context_window=32768, **more)


@pytest.mark.third
@pytest.mark.shows("Text")
def test_text(named, stream):
    messages = [ChatMessage(role=MessageRole.SYSTEM, content="Be brief."),
                ChatMessage(role=MessageRole.USER, content="the tide" + AT_ONCE)]
    llm = client(named("echo"))
    said = list(llm.stream_chat(messages))[-1] if stream else llm.chat(messages)
    assert "the tide" in said.message.content


@pytest.mark.shows("Completion of a text")
def test_complete(named, stream):
    llm = client(named("echo"))
    said = list(llm.stream_complete("the tide" + AT_ONCE))[-1] if stream else llm.complete("the tide" + AT_ONCE)
    assert "the tide" in said.text


@pytest.mark.shows("Tool round trip with parallel calls")
def test_tools(named, stream):
    def weather(city: str) -> str:
        """Tells the weather."""
        return f"fine in {city}"

    def tide(city: str) -> str:
        """Tells the tide."""
        return f"high in {city}"

    tools = [FunctionTool.from_defaults(weather), FunctionTool.from_defaults(tide)]
    llm, asked = client(named("tools")), ChatMessage(role="user", content="weather and tide?" + AT_ONCE)
    if stream:
        said = list(llm.stream_chat_with_tools(tools, chat_history=[asked], allow_parallel_tool_calls=True))[-1]
    else:
        said = llm.chat_with_tools(tools, chat_history=[asked], allow_parallel_tool_calls=True)
    calls = llm.get_tool_calls_from_response(said)
    assert [call.tool_name for call in calls] == ["weather", "tide"]
    results = [ChatMessage(role="tool", content="fine", additional_kwargs={"tool_call_id": call.tool_id}) for call in calls]
    last = llm.chat_with_tools(tools, chat_history=[asked, said.message, *results])
    assert last.message.content


@pytest.mark.shows("Structured output by a function")
def test_structured_output(named):
    assert isinstance(client(named("echo")).as_structured_llm(Ferry).complete("a ferry" + AT_ONCE).raw, Ferry)

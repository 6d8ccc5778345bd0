"""OpenAI's Agents SDK: tools and a handoff between two agents, at Responses (also over a WebSocket) and at Chat
Completions."""

import asyncio

import openai
import pytest
from agents import (Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, OpenAIResponsesWSModel,
                    Runner, function_tool, set_tracing_disabled)
from conftest import AT_ONCE, KEY, URL, Ferry

PACKAGE = "openai-agents"
INGRESSES = ["responses", "chat"]
set_tracing_disabled(True)


@function_tool
def weather(city: str) -> str:
    """Tells the weather."""
    return f"fine in {city}"


def client(ingress, name):
    speaks = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
    return (OpenAIResponsesModel if ingress == "responses" else OpenAIChatCompletionsModel)(name, speaks)


def run(agent, text, stream=False):
    async def both():
        if not stream:
            return await Runner.run(agent, text, max_turns=6)
        answer = Runner.run_streamed(agent, text, max_turns=6)
        async for _ in answer.stream_events():
            pass
        return answer
    return asyncio.run(both())


@pytest.mark.third
@pytest.mark.shows("A handoff to another agent")
def test_a_handoff(ingress, named, stream):
    harbour = Agent(name="harbour", instructions="You know the harbour.", model=client(ingress, named("echo")))
    desk = Agent(name="desk", instructions="You pass on.", model=client(ingress, named("tools")), handoffs=[harbour])
    answer = run(desk, "the tide" + AT_ONCE, stream)
    assert answer.last_agent.name == "harbour" and "the tide" in answer.final_output
    assert "HandoffCallItem" in [type(item).__name__ for item in answer.new_items]


@pytest.mark.shows("A tool and what it told")
def test_a_tool(ingress, named, stream):
    agent = Agent(name="harbour", model=client(ingress, named("tools")), tools=[weather],
                  model_settings=ModelSettings(include_usage=True))
    answer = run(agent, "the weather?" + AT_ONCE, stream)
    kinds = [type(item).__name__ for item in answer.new_items]
    assert kinds.index("ToolCallItem") < kinds.index("ToolCallOutputItem") and answer.final_output
    assert answer.context_wrapper.usage.requests == 2 and answer.context_wrapper.usage.total_tokens > 0


@pytest.mark.third
@pytest.mark.shows("A handoff and a tool over one WebSocket")
@pytest.mark.parametrize("ingress", ["responses"])
def test_over_a_websocket(ingress, named, egress):
    async def turns():
        speaks = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
        by = {name: OpenAIResponsesWSModel(named(name), speaks) for name in ("echo", "tools")}
        harbour = Agent(name="harbour", model=by["echo"])
        desk = Agent(name="desk", instructions="You pass on.", model=by["tools"], handoffs=[harbour])
        handed = Runner.run_streamed(desk, "the tide" + AT_ONCE, max_turns=6)
        async for _ in handed.stream_events():
            pass
        told = await Runner.run(Agent(name="pier", model=by["tools"], tools=[weather]), "the weather?" + AT_ONCE, max_turns=6)
        for model in by.values():
            await model.close()
        return handed, told
    handed, told = asyncio.run(turns())
    assert handed.last_agent.name == "harbour" and "the tide" in handed.final_output
    assert "ToolCallOutputItem" in [type(item).__name__ for item in told.new_items] and told.final_output


@pytest.mark.shows("Structured output")
def test_structured_output(ingress, named):
    agent = Agent(name="ferries", model=client(ingress, named("json")), output_type=Ferry)
    assert isinstance(run(agent, "a ferry" + AT_ONCE).final_output, Ferry)

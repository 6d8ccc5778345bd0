"""pydantic-ai's agents, with its models for OpenAI (both doors), Anthropic and Google."""

import asyncio

import pytest
from conftest import AT_ONCE, KEY, URL, Ferry
from pydantic_ai import Agent, ModelRetry, NativeOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

PACKAGE = "pydantic-ai-slim"
INGRESSES = ["chat", "responses", "messages", "gemini"]


def client(ingress, name):
    if ingress in ("chat", "responses"):
        provider = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)
        return (OpenAIChatModel if ingress == "chat" else OpenAIResponsesModel)(name, provider=provider)
    if ingress == "messages":
        return AnthropicModel(name, provider=AnthropicProvider(api_key=KEY, base_url=URL))
    return GoogleModel(name, provider=GoogleProvider(api_key=KEY, base_url=URL))


def run(agent, text, stream):
    async def both():
        if not stream:
            answer = await agent.run(text)
            return answer.output, answer.usage
        async with agent.run_stream(text) as answer:
            return await answer.get_output(), answer.usage
    output, usage = asyncio.run(both())
    return output, usage() if callable(usage) else usage


@pytest.mark.third
@pytest.mark.shows("Text and usage")
def test_text(ingress, named, stream):
    output, usage = run(Agent(client(ingress, named("echo")), instructions="Be brief."), "the tide" + AT_ONCE, stream)
    assert "the tide" in output and usage.input_tokens > 0 and usage.output_tokens > 0


@pytest.mark.third
@pytest.mark.shows("An agent that calls tools, one of which asks again")
def test_an_agent_with_tools(ingress, named):
    agent, asked = Agent(client(ingress, named("tools")), retries=3), []

    @agent.tool_plain
    def weather(city: str) -> str:
        """Tells the weather."""
        asked.append(city)
        if len(asked) == 1:
            raise ModelRetry("the station does not answer; ask again")
        return f"fine in {city}"

    output, usage = run(agent, "the weather?" + AT_ONCE, False)
    assert output and asked and usage.requests >= 2


@pytest.mark.shows("Structured output by a tool")
def test_output_by_a_tool(ingress, named, stream):
    output, _ = run(Agent(client(ingress, named("echo")), output_type=Ferry), "a ferry" + AT_ONCE, stream)
    assert isinstance(output, Ferry)


# By the names of models that it knows this client decides that another Claude has no schemas, and does not ask.
@pytest.mark.shows("Structured output by a schema")
@pytest.mark.parametrize("ingress", ["chat", "responses", "gemini"])
def test_output_by_a_schema(ingress, named):
    output, _ = run(Agent(client(ingress, named("json")), output_type=NativeOutput(Ferry)), "a ferry" + AT_ONCE, False)
    assert isinstance(output, Ferry)

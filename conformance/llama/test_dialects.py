"""The engine asked in dialects that are not its own: what it says in Chat is what is heard in Responses and Messages.

The provider is told to be asked in Chat alone, so each of these is translated, there and back.
"""

import json
import os

import anthropic
import openai
import pytest

MODEL = "local/tiny"
GATEWAY = os.environ["TIDEGATE_URL"]
ASK = [{"role": "user", "content": "the tide comes in"}]
SHIP = {"type": "object", "additionalProperties": False, "required": ["berth", "deck"], "properties": {
    "berth": {"type": "integer", "minimum": 1, "maximum": 9}, "deck": {"enum": ["open", "closed"]}}}


@pytest.fixture
def client():
    return openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=os.environ["TIDEGATE_API_KEY"], max_retries=0, timeout=60)


@pytest.fixture
def claude():
    return anthropic.Anthropic(base_url=GATEWAY, api_key=os.environ["TIDEGATE_API_KEY"], max_retries=0, timeout=60)


@pytest.fixture
def told(client):
    """What the engine says in its own dialect."""
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=40, temperature=0)
    return answer.choices[0].message.content, answer.usage.prompt_tokens, answer.usage.completion_tokens


def test_responses(client, told):
    answer = client.responses.create(model=MODEL, input=ASK, max_output_tokens=40, temperature=0, store=False)
    assert (answer.output_text, answer.usage.input_tokens, answer.usage.output_tokens) == told
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_responses_streamed(client, told):
    events = list(client.responses.create(model=MODEL, input=ASK, max_output_tokens=40, temperature=0, store=False, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == told[0]
    assert events[-1].type == "response.incomplete" and events[-1].response.usage.output_tokens == told[2]


def test_messages(claude, told):
    answer = claude.messages.create(model=MODEL, messages=ASK, max_tokens=40, extra_body={"temperature": 0})
    usage = answer.usage
    read = usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert (answer.content[0].text, read, usage.output_tokens) == told
    assert answer.stop_reason == "max_tokens"


def test_messages_streamed(claude, told):
    with claude.messages.stream(model=MODEL, messages=ASK, max_tokens=40, extra_body={"temperature": 0}) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == told[0] == final.content[0].text
    assert final.stop_reason == "max_tokens" and final.usage.output_tokens == told[2]


def fits(arguments):
    assert 1 <= arguments["berth"] <= 9 and arguments["deck"] in ("open", "closed") and len(arguments) == 2


def test_a_tool_call_forced_by_grammar_in_chat(client):
    tools = [{"type": "function", "function": {"name": "moor", "description": "Moors a ship.", "parameters": SHIP}}]
    answer = client.chat.completions.create(model=MODEL, messages=ASK, tools=tools, tool_choice="required",
                                            max_tokens=2000, temperature=0)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "moor"
    fits(json.loads(call.function.arguments))


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_forced_by_grammar_in_responses(client, stream):
    tools = [{"type": "function", "name": "moor", "description": "Moors a ship.", "parameters": SHIP, "strict": False}]
    ask = {"model": MODEL, "input": ASK, "tools": tools, "tool_choice": "required", "max_output_tokens": 2000,
           "temperature": 0, "store": False}
    if stream:
        with client.responses.stream(**ask) as events:
            answer = events.until_done().get_final_response()
    else:
        answer = client.responses.create(**ask)
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert call.name == "moor"
    fits(json.loads(call.arguments))


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_forced_by_grammar_in_messages(claude, stream):
    tools = [{"name": "moor", "description": "Moors a ship.", "input_schema": SHIP}]
    ask = {"model": MODEL, "messages": ASK, "tools": tools, "tool_choice": {"type": "any"}, "max_tokens": 2000,
           "extra_body": {"temperature": 0}}
    if stream:
        with claude.messages.stream(**ask) as events:
            answer = events.get_final_message()
    else:
        answer = claude.messages.create(**ask)
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert call.name == "moor" and answer.stop_reason == "tool_use"
    fits(call.input)


def test_json_by_schema_from_random_weights(claude):
    answer = claude.messages.create(model=MODEL, messages=ASK, max_tokens=2000, extra_body={"temperature": 0},
                                    output_config={"format": {"type": "json_schema", "schema": SHIP}})
    fits(json.loads(answer.content[0].text))

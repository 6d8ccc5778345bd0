"""The four dialects, each spoken by its vendor's own SDK, behind one way of holding a conversation.

A speaker keeps its history as the SDK's users keep theirs: what the SDK returned is what is sent back. So a test can
hold the same conversation in each dialect without knowing any of them.
"""

import base64
import dataclasses
import json
import os

import anthropic
import openai
from google import genai
from google.genai import types as kinds

GATEWAY = os.environ["TIDEGATE_URL"]
SYSTEM = "You help at the harbour."


def key(name="app"):
    return os.environ[f"STAND_KEY_{name.upper()}"]


@dataclasses.dataclass
class Call:
    id: str
    name: str
    arguments: dict


@dataclasses.dataclass
class Said:
    """An answer in neutral words."""
    text: str
    calls: list
    stop: str
    thought: str
    input: int
    output: int
    native: object

    def outcome(self):
        """What must be the same whatever the dialects on the way."""
        return self.text, [(call.name, call.arguments) for call in self.calls], self.stop, self.thought


class Speaker:
    STOPS = {}

    def __init__(self, name="app"):
        self.client = self.make(name)
        self.history = []

    def stop(self, native):
        return self.STOPS.get(native, f"unknown: {native}")


class Chat(Speaker):
    STOPS = {"stop": "end", "length": "length", "tool_calls": "tool", "content_filter": "filter"}

    @staticmethod
    def make(name="app", **more):
        return openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=key(name), max_retries=0, timeout=30, **more)

    def ask(self, text, image=None):
        content = text
        if image:
            url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
            content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
        self.history.append({"role": "user", "content": content})

    def results(self, results):
        self.history += [{"role": "tool", "tool_call_id": call.id, "content": json.dumps(said)}
                         for call, said in results]

    def answer(self, model, stream, tools=(), choice="auto", schema=None, think=False, limit=2000, **more):
        more |= {"model": model, "messages": [{"role": "system", "content": SYSTEM}, *self.history],
                 "max_completion_tokens": limit}
        if tools:
            more |= {"tools": [{"type": "function", "function": tool} for tool in tools], "tool_choice": choice}
        if schema:
            more["response_format"] = {"type": "json_schema",
                                       "json_schema": {"name": "asked", "schema": schema, "strict": True}}
        if think:
            more["reasoning_effort"] = "low"
        if stream:
            with self.client.chat.completions.stream(stream_options={"include_usage": True}, **more) as events:
                events.until_done()
                answer = events.get_final_completion()
        else:
            answer = self.client.chat.completions.create(**more)
        message = answer.choices[0].message
        self.history.append(message.model_dump(exclude_none=True))
        calls = [Call(call.id, call.function.name, json.loads(call.function.arguments))
                 for call in message.tool_calls or []]
        return Said(message.content or message.refusal or "", calls, self.stop(answer.choices[0].finish_reason),
                    (message.model_extra or {}).get("reasoning_content") or "", answer.usage.prompt_tokens,
                    answer.usage.completion_tokens, answer)


class Responses(Speaker):
    make = staticmethod(Chat.make)

    def ask(self, text, image=None):
        content = [{"type": "input_text", "text": text}]
        if image:
            url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
            content.append({"type": "input_image", "image_url": url, "detail": "auto"})
        self.history.append({"role": "user", "content": content})

    def results(self, results):
        self.history += [{"type": "function_call_output", "call_id": call.id,
                          "output": json.dumps(said)} for call, said in results]

    def answer(self, model, stream, tools=(), choice="auto", schema=None, think=False, limit=2000, **more):
        more |= {"model": model, "input": self.history, "instructions": SYSTEM, "store": False,
                 "max_output_tokens": limit}
        if tools:
            more |= {"tools": [{"type": "function", "strict": False, **tool} for tool in tools], "tool_choice": choice}
        if schema:
            more["text"] = {"format": {"type": "json_schema", "name": "asked", "schema": schema, "strict": True}}
        if think:
            more |= {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
        if stream:
            with self.client.responses.stream(**more) as events:
                events.until_done()
                answer = events.get_final_response()
        else:
            answer = self.client.responses.create(**more)
        self.history += [item.model_dump(exclude_none=True) for item in answer.output]
        for item in self.history:  # what `.stream()` adds of its own, and the API would refuse
            item.pop("parsed_arguments", None)
            for part in item.get("content") or []:
                if isinstance(part, dict):
                    part.pop("parsed", None)
        calls = [Call(item.call_id, item.name, json.loads(item.arguments))
                 for item in answer.output if item.type == "function_call"]
        thoughts = [part.text for item in answer.output if item.type == "reasoning"
                    for part in [*(item.summary or []), *(item.content or [])]]
        refusals = [part.refusal for item in answer.output if item.type == "message"
                    for part in item.content if part.type == "refusal"]
        if answer.status == "incomplete":
            stop = {"max_output_tokens": "length", "content_filter": "filter"}.get(answer.incomplete_details.reason)
        else:
            stop = "tool" if calls else {"completed": "end"}.get(answer.status, f"unknown: {answer.status}")
        return Said(answer.output_text or "".join(refusals), calls, stop, "".join(thoughts),
                    answer.usage.input_tokens, answer.usage.output_tokens, answer)


class Messages(Speaker):
    STOPS = {"end_turn": "end", "stop_sequence": "end", "max_tokens": "length", "tool_use": "tool", "refusal": "filter"}

    @staticmethod
    def make(name="app", **more):
        more.setdefault("base_url", GATEWAY)
        more.setdefault("api_key", key(name))
        more.setdefault("max_retries", 0)
        return anthropic.Anthropic(timeout=30, **more)

    def ask(self, text, image=None):
        content = text
        if image:
            data = base64.b64encode(image).decode()
            source = {"type": "base64", "media_type": "image/png", "data": data}
            content = [{"type": "image", "source": source}, {"type": "text", "text": text}]
        self.history.append({"role": "user", "content": content})

    def results(self, results):
        self.history.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": call.id, "content": json.dumps(said)}
            for call, said in results]})

    def answer(self, model, stream, tools=(), choice="auto", schema=None, think=False, limit=2000, **more):
        more |= {"model": model, "messages": self.history, "system": SYSTEM, "max_tokens": limit}
        if tools:
            more["tools"] = [{"name": tool["name"], "description": tool["description"],
                              "input_schema": tool["parameters"]} for tool in tools]
            more["tool_choice"] = {"type": {"required": "any"}.get(choice, choice)}
        if schema:
            more["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        if think:
            more["thinking"] = {"type": "adaptive", "display": "summarized"}
        if stream:
            with self.client.messages.stream(**more) as events:
                answer = events.get_final_message()
        else:
            answer = self.client.messages.create(**more)
        self.history.append({"role": "assistant", "content": [
            block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in answer.content]})
        calls = [Call(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"]
        text = "".join(block.text for block in answer.content if block.type == "text")
        thought = "".join(block.thinking for block in answer.content if block.type == "thinking")
        return Said(text, calls, self.stop(answer.stop_reason), thought, answer.usage.input_tokens
                    + (answer.usage.cache_read_input_tokens or 0) + (answer.usage.cache_creation_input_tokens or 0),
                    answer.usage.output_tokens, answer)


class Gemini(Speaker):
    STOPS = {"STOP": "end", "MAX_TOKENS": "length", "SAFETY": "filter", "PROHIBITED_CONTENT": "filter"}

    @staticmethod
    def make(name="app", **more):
        return genai.Client(api_key=key(name), http_options=kinds.HttpOptions(base_url=GATEWAY, timeout=30_000, **more))

    def ask(self, text, image=None):
        parts = [kinds.Part.from_text(text=text)]
        if image:
            parts.append(kinds.Part.from_bytes(data=image, mime_type="image/png"))
        self.history.append(kinds.Content(role="user", parts=parts))

    def results(self, results):
        parts = [kinds.Part(function_response=kinds.FunctionResponse(id=call.id, name=call.name, response=said))
                 for call, said in results]
        self.history.append(kinds.Content(role="user", parts=parts))

    def answer(self, model, stream, tools=(), choice="auto", schema=None, think=False, limit=2000, **more):
        config = kinds.GenerateContentConfig(system_instruction=SYSTEM, max_output_tokens=limit, **more)
        if tools:
            config.tools = [kinds.Tool(function_declarations=[kinds.FunctionDeclaration(
                name=tool["name"], description=tool["description"], parameters_json_schema=tool["parameters"])
                for tool in tools])]
            mode = {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice]
            config.tool_config = kinds.ToolConfig(function_calling_config=kinds.FunctionCallingConfig(mode=mode))
        if schema:
            config.response_mime_type, config.response_json_schema = "application/json", schema
        if think:
            config.thinking_config = kinds.ThinkingConfig(include_thoughts=True, thinking_level="LOW")
        call = {"model": model, "contents": self.history, "config": config}
        if stream:
            answers = list(self.client.models.generate_content_stream(**call))
        else:
            answers = [self.client.models.generate_content(**call)]
        parts = [part for answer in answers for candidate in answer.candidates or []
                 for part in (candidate.content and candidate.content.parts) or []]
        self.history.append(kinds.Content(role="model", parts=parts))
        calls = [Call(part.function_call.id, part.function_call.name, part.function_call.args or {})
                 for part in parts if part.function_call]
        finish = [candidate.finish_reason for answer in answers for candidate in answer.candidates or []
                  if candidate.finish_reason]
        assert len(finish) == 1, f"one finish reason in all: {finish}"
        usage = answers[-1].usage_metadata
        return Said("".join(part.text or "" for part in parts if not part.thought), calls,
                    "tool" if calls else self.stop(finish[0].name),
                    "".join(part.text or "" for part in parts if part.thought), usage.prompt_token_count,
                    (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0), answers[-1])


INGRESS = {"chat": Chat, "responses": Responses, "messages": Messages, "gemini": Gemini}
# The provider through which the gateway speaks a dialect upstream. Responses is spoken to providers that have it when
# the client speaks it too.
EGRESS = {"chat": "", "messages": "anthropic", "gemini": "gemini", "responses": "openai"}
PAIRS = [(one, other) for one in INGRESS for other in EGRESS if other != "responses" or one == "responses"]
MODELS = json.loads(os.environ["STAND_MODELS"])


def model(egress, short):
    """The name by which a client asks for one of the stand's models so that the gateway speaks `egress` upstream."""
    return MODELS[EGRESS[egress]][short]

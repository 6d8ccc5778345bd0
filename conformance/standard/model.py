"""A model that does what it is told in plain words, as the standard tests of LangChain want one: "the value of
magic_function(3)" is a call with 3.

    model.py PORT

It is strict as OpenAI is: a role or part that it does not know, a call without its result or a result without its call is a 400.
So what these tests do not look at (most ask only for an answer) is seen here.
"""

import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from chat_server import USAGE, Wrong, serve

ROLES = ("system", "developer", "user", "assistant", "tool")
PARTS = ("text", "image_url", "file", "input_audio", "refusal")
DETAILS = {"prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 5}}


def texts(message):
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def check(messages):
    """A conversation that OpenAI would take."""
    waiting = []
    for place, message in enumerate(messages):
        if message["role"] not in ROLES:
            raise Wrong(f"messages[{place}].role {message['role']} is not a role")
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if part["type"] not in PARTS:
                raise Wrong(f"messages[{place}]: a part of type {part['type']}")
            media = part.get("image_url", {}).get("url"), part.get("file", {}).get("file_data"), part.get("input_audio", {}).get("data")
            if part["type"] in ("image_url", "file", "input_audio") and not any(media):
                raise Wrong(f"messages[{place}]: an empty {part['type']}")
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                raise Wrong(f"messages[{place}]: a result of a call that nobody made")
            waiting.remove(message["tool_call_id"])
        elif waiting:
            raise Wrong(f"messages[{place}]: the calls {waiting} have no results")
        for call in message.get("tool_calls") or []:
            json.loads(call["function"]["arguments"])
            waiting.append(call["id"])
    if waiting:
        raise Wrong(f"the calls {waiting} have no results")


def made(schema, said, root=None):
    """An instance of the schema, of the numbers and the quoted words that were said."""
    root = root or schema
    if reference := schema.get("$ref"):
        return made(root["$defs"][reference.rsplit("/", 1)[1]], said, root)
    for several in ("anyOf", "allOf"):
        if several in schema:
            return made(schema[several][0], said, root)
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: made(of, said, root) for name, of in schema.get("properties", {}).items() if name in schema.get("required", [])}
    if kind == "array":
        return [made(schema.get("items", {}), said, root)]
    if kind in ("integer", "number"):
        return int((re.findall(r"-?\d+", said) or ["7"])[0])
    if kind == "boolean":
        return True
    return (re.findall(r"'([^']+)'", said) or ["fish"])[0]


def called(asked, said):
    """The tool that comes next, or none."""
    functions = [tool["function"] for tool in asked.get("tools") or []]
    choice = asked.get("tool_choice") or "auto"
    if choice == "none" or not functions:
        return None
    if isinstance(choice, dict):
        [named] = [one for one in functions if one["name"] == choice["function"]["name"]]
        return named
    if choice == "auto" and asked["messages"][-1]["role"] == "tool":
        return None
    spoken_of = [one for one in functions if one["name"] in said]
    return (spoken_of or functions)[0]


def answer(asked):
    """The call or the text that comes next."""
    messages = asked["messages"]
    check(messages)
    said = [texts(message) for message in messages if message["role"] == "user"][-1]
    if tool := called(asked, said):
        arguments = made(tool.get("parameters") or {"type": "object"}, said)
        return [{"id": f"call_{len(messages)}", "type": "function", "function": {
            "name": tool["name"], "arguments": json.dumps(arguments, ensure_ascii=False)}}], None
    form = asked.get("response_format") or {}
    if form.get("type") == "json_schema":
        text = json.dumps(made(form["json_schema"]["schema"], said))
    elif form.get("type") == "json_object":
        text = json.dumps({name: "fish" for name in re.findall(r"'([^']+)'", said)})
    else:
        text = f"As you wish. It was said: {' '.join(texts(message) for message in messages)}"
    stops = asked.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop)[0]
    return [], text


if __name__ == "__main__":
    serve(sys.argv[1], "obliging", answer, {**USAGE, **DETAILS})

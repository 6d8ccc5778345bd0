"""Whether a request fits the types that a vendor's own SDK publishes for it, with nothing beside them.

The SDKs of OpenAI and Anthropic describe requests as TypedDicts, which a server is free to extend and a type checker
reads but nothing at run time does; here they are read strictly: an unknown member, a missing one or a value of another
type is a fault, named by its path. Google's SDK has pydantic models that forbid extra members by themselves.
"""

import collections.abc
import types
import typing

import typing_extensions


def faults(value, kind, at="$"):
    """The faults of `value` as a `kind`, each a path and a reason; none when it fits."""
    origin = typing_extensions.get_origin(kind)
    arguments = typing_extensions.get_args(kind)
    if kind in (typing.Any, object):
        return []
    if origin in (typing_extensions.Required, typing_extensions.NotRequired, typing.Annotated, typing_extensions.Annotated):
        return faults(value, arguments[0], at)
    if isinstance(kind, typing_extensions.TypeAliasType):
        return faults(value, kind.__value__, at)
    if origin in (typing.Union, types.UnionType):
        return _best(value, arguments, at)
    if origin in (typing.Literal, typing_extensions.Literal):
        return [] if value in arguments else [f"{at}: {value!r} is none of {arguments}"]
    if typing_extensions.is_typeddict(kind):
        return _typed_dict(value, kind, at)
    if origin in (dict, collections.abc.Mapping):
        if not isinstance(value, dict):
            return [f"{at}: {_name(value)} and not an object"]
        return [fault for key, item in value.items() for fault in faults(item, arguments[1], f"{at}.{key}")]
    if kind in (list, dict):
        return [] if isinstance(value, kind) else [f"{at}: {_name(value)} and not {kind.__name__}"]
    if origin is not None and arguments:  # a list, by one of its many names
        if not isinstance(value, list):
            return [f"{at}: {_name(value)} and not an array"]
        return [fault for place, item in enumerate(value) for fault in faults(item, arguments[0], f"{at}[{place}]")]
    if kind is type(None):
        return [] if value is None else [f"{at}: {_name(value)} and not null"]
    if kind is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif kind is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(kind, type) and kind in (str, bool):
        fits = isinstance(value, kind)
    else:
        return [] if _is_file(kind) and isinstance(value, str) else [f"{at}: {_name(value)} and not {kind}"]
    return [] if fits else [f"{at}: {_name(value)} and not {kind.__name__}"]


def _is_file(kind):
    """Bytes and files of an SDK's own side are texts on the wire."""
    return isinstance(kind, type) and not issubclass(kind, (bool, int, float))


def _name(value):
    return {type(None): "null", dict: "an object", list: "an array"}.get(type(value), repr(value)[:60])


def _typed_dict(value, kind, at):
    if not isinstance(value, dict):
        return [f"{at}: {_name(value)} and not {kind.__name__}"]
    hints = typing_extensions.get_type_hints(kind, include_extras=True)
    members = {}
    for name, hint in hints.items():
        alias, required = name, kind.__total__ and name not in kind.__optional_keys__
        while True:
            origin = typing_extensions.get_origin(hint)
            if origin is typing_extensions.Required:
                required, hint = True, typing_extensions.get_args(hint)[0]
            elif origin is typing_extensions.NotRequired:
                required, hint = False, typing_extensions.get_args(hint)[0]
            elif hasattr(hint, "__metadata__"):
                for note in hint.__metadata__:
                    alias = getattr(note, "alias", None) or alias
                hint = typing_extensions.get_args(hint)[0]
            else:
                break
        members[alias] = (hint, required)
    found = [f"{at}.{name}: not in {kind.__name__}" for name in value if name not in members]
    found += [f"{at}.{name}: missing in {kind.__name__}" for name, (_, required) in members.items()
              if required and name not in value]
    for name, item in value.items():
        if name in members:
            found += faults(item, members[name][0], f"{at}.{name}")
    return found


def _best(value, kinds, at):
    """Of several types: no fault if one fits, else those of the type that comes nearest."""
    tried = []
    for kind in kinds:
        found = faults(value, kind, at)
        if not found:
            return []
        # A wrong `type` or `role`, or a text for an object, means that another shape is meant: its faults would mislead.
        other = any(fault.startswith((f"{at}: ", f"{at}.type: '", f"{at}.role: '")) for fault in found)
        tried.append((other, len(found), found))
    return min(tried, key=lambda one: one[:2])[2]


def openai_chat(body):
    from openai.types.chat.completion_create_params import CompletionCreateParams
    return faults(body, CompletionCreateParams)


def openai_responses(body):
    from openai.types.responses.response_create_params import ResponseCreateParams
    return faults(body, ResponseCreateParams)


def anthropic_messages(body):
    from anthropic.types.message_create_params import MessageCreateParams
    return faults(body, MessageCreateParams)


def gemini(body):
    import pydantic
    from google.genai import types as kinds

    members = {
        "contents": list[kinds.Content], "systemInstruction": kinds.Content, "tools": list[kinds.Tool],
        "toolConfig": kinds.ToolConfig, "generationConfig": kinds.GenerationConfig, "cachedContent": str,
        "safetySettings": list[kinds.SafetySetting], "labels": dict[str, str],
        "store": bool, "serviceTier": kinds.ServiceTier,
    }
    found = [f"$.{name}: not in a request" for name in body if name not in members]
    if "contents" not in body:
        found.append("$.contents: missing")
    for name, kind in members.items():
        if name in body:
            try:
                pydantic.TypeAdapter(kind).validate_python(body[name])
            except pydantic.ValidationError as problem:
                found += [f"$.{name}.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problem.errors()]
    return found

"""The check of upstream requests itself: what it must not let pass."""

import fits
import pytest

MESSAGE = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
RESPONSE = {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]}


@pytest.mark.third
@pytest.mark.parametrize("check,body", [(fits.anthropic_messages, MESSAGE), (fits.gemini, GEMINI),
                                        (fits.openai_responses, RESPONSE)])
def test_a_good_request_fits(check, body):
    assert check(body) == []


@pytest.mark.third
@pytest.mark.parametrize("check,body,path", [
    (fits.anthropic_messages, {**MESSAGE, "stream_options": {}}, "$.stream_options"),
    (fits.anthropic_messages, {**MESSAGE, "max_tokens": "1"}, "$.max_tokens"),
    (fits.anthropic_messages, {key: MESSAGE[key] for key in ("model", "messages")}, "$.max_tokens"),
    (fits.anthropic_messages, {**MESSAGE, "messages": [{"role": "user", "content": [
        {"type": "text", "text": "x", "index": 0}]}]}, "$.messages[0].content[0].index"),
    (fits.gemini, {**GEMINI, "model": "m"}, "$.model"),
    (fits.gemini, {"contents": [{"role": "user", "parts": [{"text": "x", "type": "text"}]}]}, "$.contents.0.parts.0.type"),
    (fits.gemini, {**GEMINI, "generationConfig": {"maxTokens": 1}}, "$.generationConfig.maxTokens"),
    (fits.openai_responses, {**RESPONSE, "messages": []}, "$.messages"),
    (fits.openai_responses, {**RESPONSE, "tools": [{"type": "function", "function": {"name": "f"}}]}, "$.tools[0]"),
])
def test_what_does_not_fit_is_named(check, body, path):
    assert any(fault.startswith(path) for fault in check(body)), check(body)

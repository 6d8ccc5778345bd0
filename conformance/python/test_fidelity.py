"""What passes through passes through unchanged, both ways, and what we add is in headers."""

import decimal
import json

from conftest import ask, make_client

ODD = {
    "x_vendor": {"zeta": 1.0, "alpha": 9007199254740993, "text": "caf\u00e9 \u2028 \u0000 \\ /", "none": None},
    "chat_template_kwargs": {"enable_thinking": False},
    "top_k": 40,
    "seed": -0.0,
}


def test_unknown_fields_reach_the_upstream_byte_for_byte(client, journal):
    raw = client.chat.completions.with_raw_response.create(model="up/ok", messages=ask("n\u00e4chster Halt"), extra_body=ODD)
    sent = raw.http_request.content
    expected = sent.replace(b'"up/ok"', b'"ok"')
    assert expected != sent
    dispatch = journal.dispatches(raw.headers["x-request-id"])[0]
    assert dispatch["body"].encode() == expected


def test_unknown_fields_of_the_answer_are_seen(client):
    body = '{"id":"c1","object":"chat.completion","created":1,"model":"m","x_new":{"deep":[1.0,9007199254740993]},' \
           '"choices":[{"index":0,"message":{"role":"assistant","content":"hi","x_mood":"calm"},"finish_reason":"stop"}],' \
           '"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
    raw = client.chat.completions.with_raw_response.create(model="up/ok", messages=ask(), extra_body={"fake": {"body": body}})
    assert raw.http_response.content == body.encode(), "an answer comes back byte for byte"
    answer = raw.parse()
    assert answer.model_extra["x_new"]["deep"] == [1.0, 9007199254740993]
    assert answer.choices[0].message.model_extra["x_mood"] == "calm"


def test_reasoning_of_compatible_vendors_survives_a_stream(client):
    parts = client.chat.completions.create(model="up/ok-think", messages=ask(), stream=True)
    thoughts = "".join((part.choices[0].delta.model_extra or {}).get("reasoning_content") or "" for part in parts if part.choices)
    assert thoughts


def test_headers_tell_what_happened(client, journal):
    raw = client.chat.completions.with_raw_response.create(model="up/ok", messages=ask())
    headers, usage = raw.headers, raw.parse().usage
    assert len(headers["x-request-id"]) == 36
    assert headers["x-tidegate-model"] == "up/ok"
    assert headers["x-tidegate-attempts"] == "1"
    assert headers["x-tidegate-release"].rstrip("0123456789") != headers["x-tidegate-release"]
    assert headers["server-timing"].startswith("gateway;dur=")
    cost = (usage.prompt_tokens * decimal.Decimal("0.10") + usage.completion_tokens * decimal.Decimal("0.40")) / 1_000_000
    assert decimal.Decimal(headers["x-tidegate-cost"]) == cost
    seen = {name.lower(): value for name, value in journal.dispatches(headers["x-request-id"])[0]["headers"]}
    assert not [name for name in seen if name.startswith("x-tidegate-")], "our headers never go upstream"
    assert client.api_key not in json.dumps(seen), "the client's key never goes upstream"


def test_limits_are_told_in_the_sdks_own_format():
    headers = make_client("metered").chat.completions.with_raw_response.create(model="up/ok", messages=ask()).headers
    assert headers["x-ratelimit-limit-requests"] == "6000"
    assert 0 <= int(headers["x-ratelimit-remaining-requests"]) < 6000
    assert headers["x-ratelimit-reset-requests"][-1] == "s"
    assert headers["x-ratelimit-limit-tokens"] == "60000000"
    assert int(headers["x-ratelimit-remaining-tokens"]) < 60000000


def test_the_request_id_is_the_one_the_sdk_shows(client):
    answer = client.chat.completions.create(model="up/ok", messages=ask())
    raw = client.chat.completions.with_raw_response.create(model="up/ok", messages=ask())
    assert len(answer._request_id) == 36 and answer._request_id != raw.headers["x-request-id"]

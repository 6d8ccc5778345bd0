"""Failures: the right class, fields that help, no silent success, and nothing left running behind."""

import asyncio
import json
import time

import openai
import pytest
from conftest import ask, make_async_client, make_client


def refused(kind, call):
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    assert type(error) is kind, f"{type(error).__name__} is not {kind.__name__}"
    if isinstance(error, openai.APIStatusError):
        assert error.request_id and len(error.request_id) == 36
        assert error.body["message"] and error.type
    return error


def create(client, model="up/ok", **more):
    more.setdefault("messages", ask())
    return lambda: client.chat.completions.create(model=model, **more)


def test_400_names_the_field(client):
    error = refused(openai.BadRequestError, create(client, extra_body={"n": 0}))
    assert (error.param, error.type) == ("n", "invalid_request_error")
    error = refused(openai.BadRequestError, create(client, model="", messages=ask()))
    assert error.param == "model"


def test_400_of_the_upstream_is_passed_on(client, journal, marker):
    error = refused(openai.BadRequestError, create(client, "up/ok-s400", messages=ask(marker)))
    assert error.status_code == 400
    assert len(journal.dispatches(error.request_id)) == 1, "a client's mistake is not tried again"


@pytest.mark.parametrize("wrong", ["tg-" + "A" * 38, "sk-something-else", "x"])
def test_401_for_a_key_that_is_not_ours(wrong):
    client = openai.OpenAI(base_url=make_client().base_url, api_key=wrong, max_retries=0)
    error = refused(openai.AuthenticationError, create(client))
    assert error.code == "invalid_api_key"
    assert wrong not in error.message or len(wrong) < 4


def test_403_for_a_model_that_the_key_may_not_use():
    error = refused(openai.PermissionDeniedError, create(make_client("narrow")))
    assert "up/ok" in error.message and error.code


def test_404_names_what_is_near(client):
    error = refused(openai.NotFoundError, create(client, "demo/storry"))
    assert error.code == "model_not_found" and "demo/story" in error.message


def test_422_of_the_upstream(client):
    assert refused(openai.UnprocessableEntityError, create(client, "up/ok-s422")).status_code == 422


def test_429_of_our_limit_says_when():
    client = make_client("hasty")
    create(client)()
    error = refused(openai.RateLimitError, create(client))
    assert error.code == "rate_limit_exceeded"
    assert 0 < int(error.response.headers["retry-after-ms"]) <= 60_000
    assert int(error.response.headers["retry-after"]) <= 60
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_the_sdk_waits_as_long_as_we_say(monkeypatch):
    client = make_client("hasty", max_retries=2)
    raw = client.chat.completions.with_raw_response
    waits, told = [], []
    monkeypatch.setattr("time.sleep", waits.append)
    client._client.event_hooks["response"].append(lambda answer: told.append(answer.headers.get("retry-after-ms")))
    with pytest.raises(openai.RateLimitError):
        # One of them may be the first of its minute.
        raw.create(model="demo/echo", messages=ask())
        raw.create(model="demo/echo", messages=ask())
    told = [int(told) / 1000 for told in told if told]
    assert len(told) == 3, "one call and two retries"
    assert waits == [pytest.approx(wait) for wait in told[:2]]


def test_a_client_that_gives_up_ends_the_upstreams_call(journal, marker):
    client = make_client(max_retries=0, timeout=0.5)
    refused(openai.APITimeoutError, create(client, "up/ok-f20000", messages=ask(marker)))
    (request_id,) = journal.requests_of(marker)
    assert journal.dispatches(request_id, patience=5)[0]["end"]["aborted"]


def test_a_limit_of_the_clients_own(client):
    error = refused(openai.InternalServerError, create(client, "up/ok-f20000", extra_headers={"x-tidegate-timeout": "300ms"}))
    assert error.status_code == 504 and error.code and "300ms" in error.message


def test_429_of_the_upstream(client):
    error = refused(openai.RateLimitError, create(client, "up/ok-s429-ra2"))
    assert error.status_code == 429


def test_429_of_a_spent_budget_is_final(journal, marker):
    client = make_client("poor", max_retries=3)
    error = refused(openai.RateLimitError, create(client, messages=ask(marker), max_tokens=1000))
    assert error.code == "insufficient_quota"
    assert error.response.headers["x-should-retry"] == "false"
    assert "tiny" in error.message and "poor" in error.message
    assert not journal.requests_of(marker), "nothing was dispatched"


@pytest.mark.parametrize("status", [500, 503])
def test_5xx_of_the_upstream_is_passed_on(client, status):
    error = refused(openai.InternalServerError, create(client, f"up/ok-s{status}"))
    assert error.status_code == status


def test_the_sdk_may_try_again_where_we_did_not(journal, marker):
    client = make_client(max_retries=2)
    refused(openai.InternalServerError, create(client, "up/ok-s503", messages=ask(marker)))
    assert len(journal.requests_of(marker)) == 3


def test_the_sdk_does_not_multiply_our_own_attempts(journal, marker):
    client = make_client(max_retries=3)
    error = refused(openai.InternalServerError, create(client, "doomed", messages=ask(marker)))
    assert error.response.headers["x-should-retry"] == "false"
    assert error.response.headers["x-tidegate-attempts"] == "2"
    assert len(journal.requests_of(marker)) == 1


def test_an_upstream_that_is_not_there(client):
    error = refused(openai.InternalServerError, create(client, "gone/nothing"))
    assert error.code and "gone" in error.message


def test_an_early_failure_of_a_stream_is_a_real_status(client):
    assert refused(openai.InternalServerError, create(client, "up/ok-s500", stream=True)).status_code >= 500


@pytest.mark.parametrize("model", ["up/ok-html", "up/ok-garbage", "up/ok-empty", "up/ok-errjson"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_200_that_is_no_answer_is_an_error(client, model, stream):
    refused(openai.InternalServerError, create(client, model, stream=stream))


@pytest.mark.parametrize("model", ["up/ok-t20-d2-rst5", "up/ok-t20-d2-close5", "up/ok-t20-d2-err5"])
def test_a_death_in_mid_stream_is_an_error_and_not_success(client, model):
    parts = []

    def read():
        for part in client.chat.completions.create(model=model, messages=ask(), stream=True):
            parts.append(part)

    error = refused(openai.APIError, read)
    assert error.type and error.message
    assert error.code or "err5" in model, "what the provider says of itself passes as it is"
    assert 1 <= len(parts) <= 6
    assert not any(part.choices and part.choices[0].finish_reason for part in parts)


def test_closing_a_stream_ends_the_upstreams_call(client, journal):
    raw = client.chat.completions.with_raw_response.create(model="up/ok-t4000-d5", messages=ask(), stream=True)
    request_id = raw.headers["x-request-id"]
    stream = raw.parse()
    for _, _ in zip(range(5), stream):
        pass
    before = time.monotonic()
    stream.close()
    end = journal.dispatches(request_id, patience=5)[0]["end"]
    assert end["aborted"] and end["events"] < 4000
    assert time.monotonic() - before < 2


def test_cancelling_a_task_ends_the_upstreams_call(journal, marker):
    async def go():
        async with make_async_client() as client:
            task = asyncio.create_task(client.chat.completions.create(model="up/ok-f20000", messages=ask(marker)))
            deadline = time.monotonic() + 10
            while not journal.requests_of(marker):
                assert time.monotonic() < deadline, "the request never reached the upstream"
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(go())
    (request_id,) = journal.requests_of(marker)
    assert journal.dispatches(request_id, patience=5)[0]["end"]["aborted"]


def test_an_abort_gives_the_place_back():
    client = make_client("single")
    stream = client.chat.completions.create(model="up/ok-t4000-d5", messages=ask(), stream=True)
    next(iter(stream))
    assert refused(openai.RateLimitError, create(client)).code
    stream.close()
    deadline = time.monotonic() + 5
    while True:
        try:
            assert create(client)().choices
            return
        except openai.RateLimitError:
            assert time.monotonic() < deadline, "the place was not given back"
            time.sleep(0.02)


def test_a_duplicate_model_is_refused(client):
    import urllib.error
    import urllib.request

    body = b'{"model":"demo/echo","messages":[],"mod\\u0065l":"up/ok"}'
    request = urllib.request.Request(f"{client.base_url}chat/completions", data=body, headers={
        "authorization": f"Bearer {client.api_key}", "content-type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 400
    assert "model" in json.loads(caught.value.read())["error"]["message"]


def test_a_refusal_before_the_body_leaves_the_connection_usable():
    """HTTP libraries send head and body apart; a refusal in between must read the rest or say `connection: close`."""
    import socket
    import urllib.parse

    address = urllib.parse.urlsplit(str(make_client().base_url))
    body = json.dumps({"model": "up/ok", "messages": ask()}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer tg-{'A' * 38}\r\n" \
           f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        for turn in range(2):
            connection.sendall(head.encode())
            time.sleep(0.05)  # the refusal may be on its way already
            connection.sendall(body)
            answer = b""
            while b"\r\n\r\n" not in answer:
                part = connection.recv(65536)
                assert part, f"closed without a word before answer {turn + 1}"
                answer += part
            above, rest = answer.split(b"\r\n\r\n", 1)
            assert b" 401 " in above.split(b"\r\n")[0]
            length = int(above.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            while len(rest) < length:
                rest += connection.recv(65536)
            if b"connection: close" in above.lower():
                return

"""Last of all: every request that the tests made the gateway send upstream fits the types of the vendor's own SDK.

What a test refuses on purpose never leaves the gateway; what does leave it is checked here, whoever caused it.
"""

import json

import fits
import pytest
from speakers import INGRESS, PAIRS, model

CHECKS = {
    "chat": ("/openai/v1/chat/completions", fits.openai_chat),
    "messages": ("/anthropic/v1/messages", fits.anthropic_messages),
    "gemini": ("/gemini/v1beta/models/", fits.gemini),
    "responses": ("/openai/v1/responses", fits.openai_responses),
}


@pytest.mark.third
@pytest.mark.parametrize("egress", sorted(CHECKS))
def test_every_request_fits_the_vendors_types(record, egress):
    # So that there are some even when this test runs alone. A model of `openai` is asked in Chat by who speaks neither.
    for ingress in [one for one, other in PAIRS if other == egress and egress != "chat"] or ["messages", "gemini"]:
        speaker = INGRESS[ingress]()
        speaker.ask("one more")
        speaker.answer(model("responses" if egress == "chat" else egress, "plain"), False)
    path, check = CHECKS[egress]
    seen, found = 0, {}
    for request in record.requests():
        target = request["target"].split("?")[0]
        if request["method"] == "POST" and (target == path or path.endswith("/") and target.startswith(path)):
            seen += 1
            body = json.loads(request["body"])
            for fault in check(body):
                found.setdefault(fault, body)
    assert seen, "nothing was sent"
    lines = [f"{fault}\n    in {json.dumps(body)[:600]}" for fault, body in sorted(found.items())]
    assert not found, f"{len(found)} faults in {seen} requests:\n" + "\n".join(lines[:40])


@pytest.mark.third
@pytest.mark.parametrize("egress", ["messages", "gemini"])
def test_the_headers_are_the_vendors(record, egress):
    speaker = INGRESS["chat"]()
    speaker.ask("headers please")
    speaker.answer(model(egress, "plain"), False)
    headers = list(record.requests("headers please"))[-1]["headers"]
    assert headers["content-type"].startswith("application/json")
    assert not [name for name in headers if name.startswith(("x-stainless", "openai-"))], "the client's own stay behind"
    if egress == "messages":
        assert headers["anthropic-version"] in ("2023-06-01", "2026-10-21")

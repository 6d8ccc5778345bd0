"""OpenAI's SDK with responses that the server keeps: going on, retrieving, deleting, cancelling, in the background."""

import time

import openai
import pytest
from conftest import AT_ONCE, TOOLS
from speakers import Responses, model

INGRESS = "responses"


@pytest.fixture
def client():
    return Responses.make()


def create(client, name, text, **more):
    return client.responses.create(model=name, input=text + AT_ONCE, **more)


def ended(client, response, patience=30):
    """The response when it is made, asked for as the SDK's users do."""
    deadline = time.monotonic() + patience
    while response.status in ("queued", "in_progress"):
        assert time.monotonic() < deadline, response.status
        time.sleep(0.1)
        response = client.responses.retrieve(response.id)
    return response


@pytest.mark.third
@pytest.mark.shows("previous_response_id goes on from a stored response")
def test_going_on(client, named, stream, record, marker):
    first = create(client, named("echo"), f"one {marker}")
    asked = {"model": named("echo"), "previous_response_id": first.id, "input": f"two {marker}" + AT_ONCE}
    if stream:
        with client.responses.stream(**asked) as events:
            second = events.until_done().get_final_response()
    else:
        second = client.responses.create(**asked)
    assert second.previous_response_id == first.id and second.id != first.id
    third = create(client, named("echo"), "three", previous_response_id=second.id)
    assert first.usage.input_tokens < second.usage.input_tokens < third.usage.input_tokens
    said = [item.content[0].text for item in client.responses.input_items.list(third.id, order="asc")]
    assert [text.split(" ")[0] for text in said][0::2] == ["one", "two", "three"]
    assert said[1] == first.output_text and said[3] == second.output_text
    for request in record.requests(marker):
        assert "previous_response_id" not in request["body"] or "/responses" in request["target"]


@pytest.mark.shows("Tool calls of a stored response are answered")
def test_tools_over_a_stored_response(client, named):
    tools = [{"type": "function", "strict": False, **tool} for tool in TOOLS]
    first = create(client, named("tools"), "weather and tide?", tools=tools)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["weather", "tide"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "fine"} for call in calls]
    second = client.responses.create(model=named("tools"), previous_response_id=first.id, input=results, tools=tools)
    assert second.status == "completed" and second.output_text


@pytest.mark.third
@pytest.mark.shows("Stored responses are retrieved and deleted")
def test_retrieve_and_delete(client, named, stream):
    if stream:
        with client.responses.stream(model=named("story"), input="the sea" + AT_ONCE) as events:
            made = events.until_done().get_final_response()
    else:
        made = create(client, named("story"), "the sea")
    kept = client.responses.retrieve(made.id)
    assert (kept.id, kept.status, kept.output_text) == (made.id, "completed", made.output_text)
    assert kept.usage.total_tokens == made.usage.total_tokens
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, named("echo"), "and?", previous_response_id=made.id)
    assert (caught.value.param, caught.value.code) == ("previous_response_id", "previous_response_not_found")


@pytest.mark.shows("store: false keeps nothing")
def test_nothing_is_kept_unasked(client, named):
    made = create(client, named("echo"), "secret", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


@pytest.mark.third
@pytest.mark.shows("background: queued, then polled to its end")
def test_background(client, named):
    queued = create(client, named("story"), "the sea", background=True)
    assert queued.status in ("queued", "in_progress") and queued.background
    done = ended(client, queued)
    assert (done.id, done.status) == (queued.id, "completed") and done.output_text and done.usage.output_tokens > 0
    further = create(client, named("echo"), "and then?", previous_response_id=done.id)
    assert further.status == "completed"


@pytest.mark.shows("background: cancelled")
def test_cancel(client, named):
    queued = client.responses.create(model=named("hangs"), input="for ever", background=True)
    cancelled = client.responses.cancel(queued.id)
    assert cancelled.status == "cancelled"
    assert client.responses.retrieve(queued.id).status == "cancelled"
    finished = create(client, named("echo"), "done at once")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(finished.id)


@pytest.mark.shows("background: what fails is told when it is asked for")
def test_a_failure_in_the_background(client, named):
    done = ended(client, create(client, named("broken"), "x", background=True))
    assert done.status == "failed" and done.error.message


@pytest.mark.shows("Pages of input items")
def test_pages_of_input_items(client, named):
    made = client.responses.create(model=named("echo"), input=[{"role": "user", "content": f"item {n}"} for n in range(5)])
    page = client.responses.input_items.list(made.id, limit=2, order="asc")
    assert page.has_more and [item.content[0].text for item in page] == [f"item {n}" for n in range(5)]
    assert [item.content[0].text for item in client.responses.input_items.list(made.id, limit=100)] == [
        f"item {n}" for n in reversed(range(5))]


@pytest.mark.shows("Input tokens are counted before a call")
def test_input_tokens(client, named):
    short = client.responses.input_tokens.count(model=named("echo"), input="the sea")
    long = client.responses.input_tokens.count(model=named("echo"), input="the sea " * 100)
    assert 0 < short.input_tokens < long.input_tokens


@pytest.mark.shows("Going on with a model of another provider")
def test_another_model_goes_on(client):
    first = create(client, model("messages", "echo"), "one")
    second = create(client, model("gemini", "echo"), "two", previous_response_id=first.id)
    third = create(client, model("chat", "echo"), "three", previous_response_id=second.id)
    assert third.usage.input_tokens > first.usage.input_tokens


@pytest.mark.shows("Compacting is refused by name where nobody can")
@pytest.mark.parametrize("egress", ["messages", "gemini"])
def test_compacting(client, named, egress):
    if not hasattr(client.responses, "compact"):
        pytest.skip("this SDK compacts nothing")
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.compact(model=named("echo"), input="the tide")
    assert refused.value.param == "model"
    kept = create(client, named("echo"), "one")
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.compact(model=named("echo"), previous_response_id=kept.id)
    assert refused.value.param in ("model", "previous_response_id")

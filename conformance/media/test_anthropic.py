"""Message batches by Anthropic's SDK, which goes where `results_url` says."""

import anthropic
import pytest


def request(name):
    return {"custom_id": name, "params": {"model": "claude-sonnet-5", "max_tokens": 10,
                                          "messages": [{"role": "user", "content": "hello"}]}}


@pytest.mark.shows("message batches: create, poll, results, cancel, delete")
def test_batches(anthropic_client, vendor):
    batches = anthropic_client.messages.batches
    batch = batches.create(requests=[request("a"), request("b")])
    assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 2)
    assert batch.id in [other.id for other in batches.list()]
    ended = batches.retrieve(batch.id)
    assert ended.processing_status == "ended"
    assert ended.results_url.startswith(str(anthropic_client.base_url).rstrip("/") + "/v1/messages/batches/")
    results = list(batches.results(batch.id))
    assert [result.custom_id for result in results] == ["a", "b"]
    assert results[0].result.message.content[0].text == "done"
    assert batches.cancel(batch.id).processing_status == "canceling"
    assert batches.delete(batch.id).id == batch.id
    assert vendor()[-1]["path"] == f"/anthropic/v1/messages/batches/{batch.id}"


@pytest.mark.shows("files: upload, list, content, delete")
def test_files(anthropic_client):
    files, content = anthropic_client.beta.files, bytes(range(256)) * 1000
    file = files.upload(file=("tide.pdf", content, "application/pdf"))
    assert (file.filename, file.size_bytes) == ("tide.pdf", len(content))
    assert file.id in [other.id for other in files.list()]
    assert files.retrieve_metadata(file.id).size_bytes == len(content)
    assert files.download(file.id).read() == content
    assert files.delete(file.id).id == file.id


@pytest.mark.shows("message batches: errors")
def test_errors(anthropic_client):
    stranger = anthropic_client.with_options(api_key="tg-not-one-of-ours")
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.batches.list()

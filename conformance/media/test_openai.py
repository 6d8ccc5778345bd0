"""Pictures, sound, moderations, files and batches by OpenAI's SDK, bytes compared at both ends."""

import hashlib
import io
import json

import openai
import pytest
from vendor import PNG, SOUND

WAVE = b"RIFF" + bytes(range(256)) * 300
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 50


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.shows("images.generate")
def test_images(openai_client, vendor):
    answer = openai_client.images.generate(model="openai/gpt-image-1", prompt="a tide", n=2)
    assert [image.b64_json for image in answer.data] == [PNG] * 2
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 100)
    assert answer.data[0].revised_prompt == "a tide"


@pytest.mark.shows("images.generate, streamed")
def test_images_in_parts(openai_client):
    events = list(openai_client.images.generate(model="openai/gpt-image-1", prompt="a tide", stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    assert events[1].b64_json == PNG and events[1].usage.output_tokens == 100


@pytest.mark.shows("images.edit, a form")
def test_edit_an_image(openai_client):
    answer = openai_client.images.edit(model="openai/gpt-image-1", image=("tide.png", PICTURE), prompt="höher — more")
    seen = json.loads(answer.data[0].revised_prompt)
    assert seen == {"image": digest(PICTURE), "prompt": "höher — more", "model": "gpt-image-1"}


@pytest.mark.shows("audio.speech, bytes as they come")
def test_speech(openai_client):
    with openai_client.audio.speech.with_streaming_response.create(model="openai/tts-1", voice="alloy", input="hello") as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert b"".join(answer.iter_bytes()) == SOUND
    assert openai_client.audio.speech.create(model="openai/tts-1", voice="alloy", input="hello").content == SOUND


@pytest.mark.shows("audio.transcriptions: json, text, srt, verbose")
def test_transcriptions(openai_client):
    heard = f"whisper-1 heard {digest(WAVE)}"
    ask = lambda **more: openai_client.audio.transcriptions.create(model="openai/whisper-1", file=("a.wav", WAVE), **more)
    assert ask().text == heard
    assert ask(response_format="text") == heard + "\n"
    assert heard in ask(response_format="srt") and "-->" in ask(response_format="srt")
    verbose = ask(response_format="verbose_json")
    assert (verbose.text, verbose.duration, verbose.language) == (heard, 1.0, "english")


@pytest.mark.shows("audio.transcriptions, streamed")
def test_transcription_in_parts(openai_client):
    events = list(openai_client.audio.transcriptions.create(model="openai/gpt-4o-transcribe", file=("a.wav", WAVE), stream=True))
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[1].text == f"gpt-4o-transcribe heard {digest(WAVE)}"


@pytest.mark.shows("audio.translations")
def test_translation(openai_client):
    answer = openai_client.audio.translations.create(model="openai/whisper-1", file=("a.wav", WAVE))
    assert answer.text == f"whisper-1 heard {digest(WAVE)}"


@pytest.mark.shows("moderations")
def test_moderations(openai_client):
    answer = openai_client.moderations.create(model="openai/omni-moderation-latest", input=["fine", "bad"])
    assert [result.flagged for result in answer.results] == [False, True]
    assert answer.model == "omni-moderation-latest"


@pytest.mark.shows("files: upload, list, retrieve, content, delete")
def test_files(openai_client):
    content = b'{"custom_id": "1"}\n' * 50_000
    file = openai_client.files.create(file=("batch.jsonl", content), purpose="batch")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "batch.jsonl", "batch")
    assert file.id in [other.id for other in openai_client.files.list()]
    assert openai_client.files.retrieve(file.id).bytes == len(content)
    assert openai_client.files.content(file.id).content == content
    assert openai_client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError) as gone:
        openai_client.files.retrieve(file.id)
    assert gone.value.param == "id"


@pytest.mark.shows("uploads: a file in parts")
def test_uploads(openai_client):
    content = bytes(range(256)) * 1000
    upload = openai_client.uploads.upload_file_chunked(file=content, filename="large.bin", bytes=len(content),
                                                       mime_type="application/octet-stream", purpose="user_data",
                                                       part_size=100_000)
    assert upload.status == "completed"
    assert openai_client.files.content(upload.file.id).content == content


@pytest.mark.shows("batches: create, poll, list, cancel")
def test_batches(openai_client):
    batch = openai_client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h")
    assert batch.status == "in_progress"
    assert openai_client.batches.retrieve(batch.id).status == "completed"
    assert batch.id in [other.id for other in openai_client.batches.list()]
    assert openai_client.batches.cancel(batch.id).status == "cancelling"


@pytest.mark.shows("a body of 20 MB")
def test_a_large_file(openai_client):
    content = bytes(range(256)) * 80_000
    file = openai_client.files.create(file=("large.bin", io.BytesIO(content)), purpose="user_data")
    assert file.bytes == len(content)
    assert openai_client.files.content(file.id).content == content
    openai_client.files.delete(file.id)


@pytest.mark.shows("a compressed request is refused cleanly")
def test_a_compressed_body(openai_client, vendor):
    with pytest.raises(openai.APIStatusError) as refused:
        openai_client.post("/moderations", cast_to=object, body={"model": "openai/m", "input": "x"},
                           options={"headers": {"content-encoding": "gzip"}})
    assert refused.value.status_code in (400, 415) and "gzip" in str(refused.value)
    assert vendor() == []


@pytest.mark.shows("Azure's client: images, speech, transcriptions")
def test_azures_client(azure_client, vendor):
    assert azure_client.images.generate(model="openai/gpt-image-1", prompt="a tide").data[0].b64_json == PNG
    assert azure_client.audio.speech.create(model="openai/tts-1", voice="alloy", input="hello").content == SOUND
    heard = azure_client.audio.transcriptions.create(model="openai/whisper-1", file=("a.wav", WAVE))
    assert heard.text == f"whisper-1 heard {digest(WAVE)}"
    assert [request["path"] for request in vendor()] == ["/v1/images/generations", "/v1/audio/speech", "/v1/audio/transcriptions"]
    assert all("api-key" not in request["headers"] for request in vendor())


def test_azures_older_form(azure_client, vendor):
    """A form whose model stands in the path alone, as clients other than this SDK write it."""
    heard = azure_client.post("/deployments/openai%2Fwhisper-1/audio/transcriptions", cast_to=object,
                              body={"language": "en"}, files={"file": ("a.wav", WAVE)},
                              options={"headers": {"content-type": "multipart/form-data"}})
    assert heard["text"] == f"whisper-1 heard {digest(WAVE)}"
    assert vendor()[-1]["path"] == "/v1/audio/transcriptions"


@pytest.mark.shows("Azure's client: files and batches")
def test_azures_files(azure_client, vendor):
    there = azure_client.with_options(default_headers={"x-tidegate-provider": "openai"})
    file = there.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    assert there.files.content(file.id).content == b"{}"
    batch = there.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert there.batches.retrieve(batch.id).status == "completed"
    assert vendor()[0]["path"] == "/v1/files" and "api-version=2024-10-21" in vendor()[0]["query"]


@pytest.mark.shows("the vendor's error is the client's to read")
def test_an_error_of_the_vendor(openai_client):
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.post("/images/generations", cast_to=object, body={"model": "openai/gpt-image-1"})
    assert "prompt" in str(refused.value)


@pytest.mark.shows("responses.compact")
def test_compact(openai_client, vendor):
    if not hasattr(openai_client.responses, "compact"):
        pytest.skip("this SDK compacts nothing")
    answer = openai_client.responses.compact(model="openai/gpt-5", input="the tide")
    assert (answer.object, [item.type for item in answer.output]) == ("response.compaction", ["message", "compaction"])
    assert answer.usage.total_tokens == 12 and answer.output[1].encrypted_content
    assert vendor()[-1]["path"] == "/v1/responses/compact"

"""What a message can carry beside text and pictures, and what can be asked of an answer: files, sound, documents, token
probabilities, counts, safety; as the vendors' SDKs write it, and as it reached the provider.

Looked at is the request that left the gateway, since the models behind it neither read nor hear.
"""

import base64
import json
import os

import openai
import pytest
from google import genai
from google.genai import types as kinds
from speakers import GATEWAY, Chat, Gemini, Messages, key, model

PDF = b"%PDF-1.4 a tide table"
WAVE = b"RIFF" + bytes(40)
B64 = lambda content: base64.b64encode(content).decode()
EVERY = pytest.mark.parametrize("egress", ["chat", "messages", "gemini"])


@pytest.fixture
def sent(record, marker):
    """The one request of this test that left the gateway."""
    def find():
        bodies = record.bodies(marker)
        assert len(bodies) == 1, bodies
        return bodies[0]
    return find


def heard(egress, short):
    """A model whose requests are written down: also those in the client's own dialect."""
    return json.loads(os.environ["STAND_MODELS"])["openai"][short] if egress == "chat" else model(egress, short)


def chat(name, content, **more):
    return Chat.make().chat.completions.create(model=name, messages=[{"role": "user", "content": content}], **more)


class TestChat:
    INGRESS = "chat"

    @pytest.mark.third
    @pytest.mark.shows("A file within a message")
    @EVERY
    def test_a_file(self, egress, marker, sent):
        file = {"type": "file", "file": {"filename": "tide.pdf", "file_data": f"data:application/pdf;base64,{B64(PDF)}"}}
        chat(heard(egress, "plain"), [{"type": "text", "text": marker}, file])
        body = json.dumps(sent())
        assert B64(PDF) in body and "application/pdf" in body
        part = {"chat": "messages", "messages": "messages", "gemini": "contents"}[egress]
        parts = sent()[part][0]["parts" if egress == "gemini" else "content"]
        assert parts[1] == {"chat": file, "gemini": {"inlineData": {"mimeType": "application/pdf", "data": B64(PDF)}},
                            "messages": {"type": "document", "title": "tide.pdf", "source": {
                                "type": "base64", "media_type": "application/pdf", "data": B64(PDF)}}}[egress]

    @pytest.mark.shows("Images by address")
    @EVERY
    def test_images_by_address(self, egress, marker, sent):
        url = "https://images.invalid/tide.png"
        chat(heard(egress, "plain"), [{"type": "text", "text": marker}, {"type": "image_url", "image_url": {"url": url}}])
        parts = sent()["contents"][0]["parts"] if egress == "gemini" else sent()["messages"][0]["content"]
        assert parts[1] == {"chat": {"type": "image_url", "image_url": {"url": url}},
                            "messages": {"type": "image", "source": {"type": "url", "url": url}},
                            "gemini": {"fileData": {"mimeType": "image/png", "fileUri": url}}}[egress]

    @pytest.mark.shows("Sound within a message")
    @pytest.mark.parametrize("egress", ["chat", "gemini"])
    def test_sound(self, egress, marker, sent):
        sound = {"type": "input_audio", "input_audio": {"data": B64(WAVE), "format": "wav"}}
        chat(heard(egress, "plain"), [{"type": "text", "text": marker}, sound])
        parts = sent()["contents"][0]["parts"] if egress == "gemini" else sent()["messages"][0]["content"]
        assert parts[1] == {"chat": sound, "gemini": {"inlineData": {"mimeType": "audio/wav", "data": B64(WAVE)}}}[egress]

    @pytest.mark.third
    @pytest.mark.shows("Sound is refused by name for who cannot hear")
    @pytest.mark.parametrize("egress", ["messages"])
    def test_sound_for_the_deaf(self, egress, marker, record):
        sound = {"type": "input_audio", "input_audio": {"data": B64(WAVE), "format": "wav"}}
        with pytest.raises(openai.BadRequestError) as refused:
            chat(heard(egress, "plain"), [{"type": "text", "text": marker}, sound])
        assert "no sound" in str(refused.value) and refused.value.param
        assert record.bodies(marker) == []

    @pytest.mark.shows("Spoken answers: asked of who can, refused or told for others")
    @EVERY
    def test_spoken_answers(self, egress, marker, record):
        more = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
        raw = Chat.make().chat.completions.with_raw_response
        ask = lambda **headers: raw.create(model=heard(egress, "plain"), messages=[{"role": "user", "content": marker}],
                                           extra_headers=headers, **more)
        if egress == "chat":
            ask()
            assert {name: record.bodies(marker)[0][name] for name in more} == more
            return
        try:
            assert "audio" in ask().headers["x-tidegate-dropped"]
        except openai.BadRequestError as refused:
            assert refused.param in ("modalities", "audio")
        with pytest.raises(openai.BadRequestError):
            ask(**{"x-tidegate-strict": "true"})

    @pytest.mark.shows("Probabilities of tokens, several answers, a seed")
    @pytest.mark.parametrize("egress", ["chat", "gemini"])
    def test_probabilities(self, egress, marker, sent):
        more = {"logprobs": True, "top_logprobs": 3, "n": 2, "seed": 7}
        chat(heard(egress, "plain"), marker, **more)
        if egress == "chat":
            assert {name: sent()[name] for name in more} == more
        else:
            config = sent()["generationConfig"]
            assert (config["responseLogprobs"], config["logprobs"], config["candidateCount"], config["seed"]) == (True, 3, 2, 7)


def message(name, content, **more):
    return Messages.make().messages.create(model=name, max_tokens=50, messages=[{"role": "user", "content": content}], **more)


class TestMessages:
    INGRESS = "messages"

    @pytest.mark.shows("A document with citations")
    @EVERY
    def test_a_document(self, egress, marker, sent):
        document = {"type": "document", "title": "tide.pdf", "citations": {"enabled": True},
                    "source": {"type": "base64", "media_type": "application/pdf", "data": B64(PDF)}}
        raw = Messages.make().messages.with_raw_response.create(
            model=heard(egress, "plain"), max_tokens=50,
            messages=[{"role": "user", "content": [document, {"type": "text", "text": marker}]}])
        body = sent()
        assert B64(PDF) in json.dumps(body)
        if egress == "messages":
            assert body["messages"][0]["content"][0] == document
        else:
            assert "citations" in raw.headers["x-tidegate-dropped"]

    @pytest.mark.shows("Marks of the prompt cache reach Anthropic, and nobody else")
    @EVERY
    def test_cache_marks(self, egress, marker, sent):
        mark = {"type": "ephemeral", "ttl": "1h"}
        message(heard(egress, "plain"), [{"type": "text", "text": marker, "cache_control": mark}],
                system=[{"type": "text", "text": "Be brief.", "cache_control": mark}],
                tools=[{"name": "tide", "input_schema": {"type": "object"}, "cache_control": mark}])
        body = sent()
        if egress == "messages":
            marked = [body["system"][0], body["tools"][0], body["messages"][0]["content"][0]]
            assert [one["cache_control"] for one in marked] == [mark] * 3
        else:
            assert "cache_control" not in json.dumps(body)

    @pytest.mark.shows("A document of plain text")
    @EVERY
    def test_plain_text(self, egress, marker, sent):
        document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "high tide at noon"}}
        message(heard(egress, "plain"), [document, {"type": "text", "text": marker}])
        body = json.dumps(sent())
        assert "high tide at noon" in body or B64(b"high tide at noon") in body

    @pytest.mark.shows("Tokens are counted before a call")
    @EVERY
    def test_counts(self, egress):
        client = Messages.make()
        few = client.messages.count_tokens(model=heard(egress, "plain"), messages=[{"role": "user", "content": "tide"}])
        many = client.messages.count_tokens(model=heard(egress, "plain"),
                                            messages=[{"role": "user", "content": "the tide comes in " * 50}])
        assert 0 < few.input_tokens < 30 < many.input_tokens

    @pytest.mark.shows("parse() gives an object of the asked type")
    @EVERY
    def test_parse(self, egress):
        pydantic = pytest.importorskip("pydantic")
        if not hasattr(Messages.make().messages, "parse"):
            pytest.skip("this SDK has no parse()")

        class Ferry(pydantic.BaseModel):
            name: str
            seats: int
        answer = Messages.make().messages.parse(model=model(egress, "json"), max_tokens=500, output_format=Ferry,
                                                messages=[{"role": "user", "content": "a ferry"}])
        assert isinstance(answer.parsed_output, Ferry)

    @pytest.mark.third
    @pytest.mark.shows("Redacted thoughts go back to who made them, and to nobody else")
    @EVERY
    def test_redacted_thoughts(self, egress, marker, sent):
        hidden = {"type": "redacted_thinking", "data": "EncryptedThought"}
        Messages.make().messages.create(model=heard(egress, "plain"), max_tokens=2000, messages=[
            {"role": "user", "content": "hello"}, {"role": "assistant", "content": [hidden, {"type": "text", "text": "hi"}]},
            {"role": "user", "content": marker}])
        assert ("EncryptedThought" in json.dumps(sent())) == (egress == "messages")


class TestGemini:
    INGRESS = "gemini"

    @pytest.mark.shows("Signatures of thoughts go back to who made them, and to nobody else")
    @EVERY
    def test_signatures(self, egress, marker, sent):
        said = kinds.Part(text="hi", thought_signature=b"SignedThought")
        turn = lambda role, part: kinds.Content(role=role, parts=[part])
        client = Gemini.make()
        client.models.generate_content(model=heard(egress, "plain"), contents=[
            turn("user", kinds.Part(text="hello")), turn("model", said), turn("user", kinds.Part(text=marker))])
        body = sent()
        if egress == "gemini":
            assert base64.b64decode(body["contents"][1]["parts"][0]["thoughtSignature"]) == b"SignedThought"
        else:
            assert B64(b"SignedThought") not in json.dumps(body)

    @pytest.mark.shows("Tokens are counted before a call")
    @EVERY
    def test_counts(self, egress):
        client = Gemini.make()
        few = client.models.count_tokens(model=heard(egress, "plain"), contents="tide")
        many = client.models.count_tokens(model=heard(egress, "plain"), contents="the tide comes in " * 50)
        assert 0 < few.total_tokens < 30 < many.total_tokens

    @pytest.mark.shows("Sound and files within a message")
    @EVERY
    def test_media(self, egress, marker, record):
        parts = [marker, kinds.Part.from_bytes(data=PDF, mime_type="application/pdf")]
        if egress != "messages":
            parts.append(kinds.Part.from_bytes(data=WAVE, mime_type="audio/wav"))
        client = Gemini.make()
        client.models.generate_content(model=heard(egress, "plain"), contents=parts)
        body = json.dumps(record.bodies(marker)[0])
        assert B64(PDF) in body and (B64(WAVE) in body) == (egress != "messages")

    @pytest.mark.third
    @pytest.mark.shows("An answer that was withheld")
    @EVERY
    def test_withheld(self, egress, stream):
        client, name = Gemini.make(), model(egress, "filtered")
        ask = client.models.generate_content_stream if stream else client.models.generate_content
        answers = list(ask(model=name, contents="hello")) if stream else [ask(model=name, contents="hello")]
        reasons = [candidate.finish_reason.name for answer in answers for candidate in answer.candidates or []
                   if candidate.finish_reason]
        blocked = [answer.prompt_feedback.block_reason for answer in answers if answer.prompt_feedback]
        assert reasons in (["SAFETY"], ["PROHIBITED_CONTENT"]) or blocked, (reasons, blocked)

    @staticmethod
    def cloud():
        import google.auth.credentials

        class Credentials(google.auth.credentials.Credentials):
            def refresh(self, _):
                self.token = key()
        credentials = Credentials()
        credentials.token = key()
        return genai.Client(vertexai=True, project="harbour", location="us-central1", credentials=credentials,
                            http_options={"base_url": GATEWAY})

    @pytest.mark.shows("Google's cloud: tokens are counted, functions are called")
    @EVERY
    def test_cloud_counts_and_calls(self, egress):
        client = self.cloud()
        assert client.models.count_tokens(model=heard(egress, "plain"), contents="tide").total_tokens > 0
        weather = kinds.FunctionDeclaration(name="weather", parameters_json_schema={
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
        answer = client.models.generate_content(model=model(egress, "tools"), contents="the weather? [[pace=0]]",
                                                config={"tools": [kinds.Tool(function_declarations=[weather])]})
        assert [call.name for call in answer.function_calls] == ["weather"]

    @pytest.mark.third
    @pytest.mark.shows("The client for Google's cloud: project, place and publisher in the path")
    @EVERY
    def test_cloud(self, egress, stream):
        client = self.cloud()
        ask = client.models.generate_content_stream if stream else client.models.generate_content
        answer = ask(model=model(egress, "echo"), contents="the tide")
        text = "".join(part.text or "" for part in answer) if stream else answer.text
        assert "the tide" in text

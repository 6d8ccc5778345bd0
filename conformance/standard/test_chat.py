"""The tests that LangChain wants every chat model to pass, for ChatOpenAI at both its doors and each dialect upstream."""

import json
import os

import openai
import pytest
from conftest import KEY, URL
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

MODELS = json.loads(os.environ["STAND_MODELS"])
OWN_NAMES = json.loads(os.environ["STAND_OWN_NAMES"])
PROVIDER = {"chat": "", "responses": "openai", "messages": "anthropic", "gemini": "gemini"}


class Ours:
    """Which model, and what is wanted of it."""

    INGRESS = "chat"
    EGRESS = "chat"
    chat_model_class = ChatOpenAI
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_anthropic_inputs = True
    supports_image_tool_message = False
    supports_pdf_tool_message = False

    @property
    def chat_model_params(self):
        return {"model": self.named("obliging"), "base_url": f"{URL}/v1", "api_key": KEY, "max_retries": 0,
                "stream_usage": True, "use_responses_api": self.INGRESS == "responses"}

    @property
    def model_override_value(self):
        # An answer names the model as its provider does, so it must be one that clients call by that name too.
        return OWN_NAMES[PROVIDER[self.EGRESS]]

    @property
    def supports_audio_inputs(self):
        return self.INGRESS == "chat" and self.EGRESS != "messages"

    @property
    def supported_usage_metadata_details(self):
        return {way: ["reasoning_output", "cache_read_input"] for way in ("invoke", "stream")}

    def named(self, short):
        return MODELS[PROVIDER[self.EGRESS]][short]

    def asked(self, stream):
        model = ChatOpenAI(**self.chat_model_params)
        if not stream:
            return model.invoke("hello")
        whole = None
        for chunk in model.stream("hello"):
            whole = chunk if whole is None else whole + chunk
        return whole

    def invoke_with_reasoning_output(self, *, stream=False):
        return self.asked(stream)

    def invoke_with_cache_read_input(self, *, stream=False):
        return self.asked(stream)


class TestUnits(Ours, ChatModelUnitTests):
    EGRESS = None

    @property
    def chat_model_params(self):
        return {"model": "demo/echo", "base_url": f"{URL}/v1", "api_key": KEY}

    @property
    def standard_chat_model_params(self):
        return {name: value for name, value in super().standard_chat_model_params.items() if name != "api_key"}

    @property
    def init_from_env_params(self):
        return ({"OPENAI_API_KEY": KEY, "OPENAI_API_BASE": f"{URL}/v1"}, {"model": "demo/echo"},
                {"openai_api_key": KEY, "openai_api_base": f"{URL}/v1"})


class TestChatAtChat(Ours, ChatModelIntegrationTests):
    pass


# Anthropic has no JSON without a schema; a gateway that asked for it in words would promise what it cannot keep.
no_json_mode = pytest.mark.xfail(strict=True, raises=openai.BadRequestError, reason="`json_object` is refused by name for Anthropic")


class TestChatAtMessages(Ours, ChatModelIntegrationTests):
    EGRESS = "messages"

    @no_json_mode
    def test_json_mode(self, model):
        super().test_json_mode(model)


class TestChatAtGemini(Ours, ChatModelIntegrationTests):
    EGRESS = "gemini"


class AtResponses(Ours):
    INGRESS = "responses"
    supports_image_tool_message = True
    supports_pdf_tool_message = True


class TestResponsesAtResponses(AtResponses, ChatModelIntegrationTests):
    EGRESS = "responses"


class TestResponsesAtChat(AtResponses, ChatModelIntegrationTests):
    EGRESS = "chat"


class TestResponsesAtMessages(AtResponses, ChatModelIntegrationTests):
    EGRESS = "messages"

    @no_json_mode
    def test_json_mode(self, model):
        super().test_json_mode(model)


class TestResponsesAtGemini(AtResponses, ChatModelIntegrationTests):
    EGRESS = "gemini"

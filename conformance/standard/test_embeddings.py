"""The same for embeddings: OpenAIEmbeddings with a maker of vectors of its own dialect and with foreign ones."""

from conftest import KEY, URL
from langchain_openai import OpenAIEmbeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests


class Ours:
    INGRESS = "vectors-openai"
    EGRESS = "openai"
    NAME = "openai/text-embedding-3-small"
    embeddings_class = OpenAIEmbeddings

    @property
    def embedding_model_params(self):
        # Else it fetches OpenAI's vocabulary from the web and sends numbers, which others' models do not know.
        return {"model": self.NAME, "base_url": f"{URL}/v1", "api_key": KEY, "check_embedding_ctx_length": False, "max_retries": 0}


class TestUnits(Ours, EmbeddingsUnitTests):
    EGRESS = None

    @property
    def init_from_env_params(self):
        return ({"OPENAI_API_KEY": KEY, "OPENAI_API_BASE": f"{URL}/v1"}, {"model": self.NAME},
                {"openai_api_key": KEY, "openai_api_base": f"{URL}/v1"})


class TestOpenAI(Ours, EmbeddingsIntegrationTests):
    pass


class TestGemini(Ours, EmbeddingsIntegrationTests):
    EGRESS = "gemini"
    NAME = "gemini/gemini-embedding-001"


class TestJina(Ours, EmbeddingsIntegrationTests):
    EGRESS = "jina"
    NAME = "jina/jina-embeddings-v4"

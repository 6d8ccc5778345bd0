"""Embeddings and rerank with the SDKs of OpenAI, Google and Cohere, against vendors that take only their own words.

A vector of the vendors (but OpenAI's) says which input it is of: its place, the length of the text, and 0.1.
"""

import base64
import struct

import cohere
import openai
import pytest
from google.genai import errors, types

ALL = ["openai", "gemini", "cohere", "jina"]
TEXTS = ["a", "bcd"]


def expected(egress):
    return [[0.5, -0.5]] * 2 if egress == "openai" else [[0, 1, 0.1], [1, 3, 0.1]]


def near(vectors, egress):
    wanted = expected(egress)
    assert len(vectors) == len(wanted)
    for vector, want in zip(vectors, wanted):
        assert list(vector) == pytest.approx(want, rel=1e-6)


@pytest.mark.shows("embeddings, as the SDK asks by default (base64)")
@pytest.mark.parametrize("egress", ["openai", "gemini", "jina"])
def test_openais_sdk(openai_client, egress):
    answer = openai_client.embeddings.create(model=f"{egress}/e", input=TEXTS, dimensions=3)
    near([item.embedding for item in answer.data], egress)
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == {"openai": 2, "gemini": 8, "jina": 10}[egress]


@pytest.mark.shows("embeddings, floats and base64 the same bit by bit")
@pytest.mark.parametrize("egress", ["openai", "gemini", "jina"])
def test_openais_sdk_in_both_writings(openai_client, egress):
    floats, packed = (openai_client.embeddings.with_raw_response.create(
        model=f"{egress}/e", input=TEXTS, encoding_format=encoding).http_response.json()["data"]
        for encoding in ("float", "base64"))
    for one, other in zip(floats, packed):
        vector = one["embedding"]
        assert struct.pack(f"<{len(vector)}f", *vector) == base64.b64decode(other["embedding"])


@pytest.mark.shows("embeddings: a batch of 2048")
@pytest.mark.parametrize("egress", ["openai", "jina"])
def test_openais_sdk_with_many(openai_client, egress):
    answer = openai_client.embeddings.create(model=f"{egress}/e", input=[f"tide {n}" for n in range(2048)])
    assert [item.index for item in answer.data] == list(range(2048))
    if egress == "jina":  # whose vectors tell their place
        assert [item.embedding[0] for item in answer.data] == list(range(2048))


@pytest.mark.shows("embeddings of tokens")
@pytest.mark.parametrize("egress", ["openai"])
def test_openais_sdk_with_tokens(openai_client, egress):
    answer = openai_client.embeddings.create(model=f"{egress}/e", input=[[1, 2], [3]])
    near([item.embedding for item in answer.data], egress)


@pytest.mark.shows("embeddings: what the provider cannot be asked is refused by name")
@pytest.mark.parametrize("egress", ["gemini", "jina"])
def test_openais_sdk_is_refused_by_name(openai_client, egress):
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.embeddings.create(model=f"{egress}/e", input=[[1, 2], [3]])
    assert refused.value.param == "input" and "tokens" in str(refused.value)


@pytest.mark.shows("embeddings (a batch)")
@pytest.mark.parametrize("egress", ALL)
def test_googles_sdk(genai_client, egress):
    config = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", output_dimensionality=3)
    answer = genai_client.models.embed_content(model=f"{egress}/e", contents=TEXTS, config=config)
    near([one.values for one in answer.embeddings], egress)


@pytest.mark.shows("embeddings: the least that can be asked")
@pytest.mark.parametrize("egress", ["openai", "gemini", "jina"])
def test_googles_sdk_without_settings(genai_client, egress):
    answer = genai_client.models.embed_content(model=f"{egress}/e", contents="a")
    near([answer.embeddings[0].values] + [expected(egress)[1]], egress)


@pytest.mark.shows("embeddings: too many inputs are refused with the limit")
@pytest.mark.parametrize("egress", ["cohere"])
def test_googles_sdk_is_told_a_limit(genai_client, egress):
    config = types.EmbedContentConfig(task_type="CLUSTERING")
    with pytest.raises(errors.ClientError) as refused:
        genai_client.models.embed_content(model=f"{egress}/e", contents=["a"] * 97, config=config)
    assert refused.value.code == 400 and "at most 96" in str(refused.value)


@pytest.mark.shows("embeddings, floats and base64")
@pytest.mark.parametrize("egress", ALL)
def test_coheres_sdk(cohere_client, egress):
    answer = cohere_client.embed(model=f"{egress}/e", texts=TEXTS, input_type="search_document",
                                 embedding_types=["float", "base64"])
    near(answer.embeddings.float_, egress)
    unpacked = [struct.unpack(f"<{len(one) // 4}f", one) for one in map(base64.b64decode, answer.embeddings.base64)]
    near(unpacked, egress)
    assert answer.texts == TEXTS
    assert answer.meta.billed_units.input_tokens == {"openai": 2, "gemini": 8, "cohere": 6, "jina": 10}[egress]


@pytest.mark.shows("embeddings: what the provider cannot be asked is refused by name")
@pytest.mark.parametrize("egress", ["openai", "gemini"])
def test_coheres_sdk_is_refused_by_name(cohere_client, egress):
    with pytest.raises(cohere.BadRequestError) as refused:
        cohere_client.embed(model=f"{egress}/e", texts=TEXTS, input_type="clustering", embedding_types=["int8"])
    assert "int8" in str(refused.value.body)


@pytest.mark.shows("rerank")
@pytest.mark.parametrize("egress", ["cohere", "jina"])
def test_coheres_sdk_reranks(cohere_client, egress):
    answer = cohere_client.rerank(model=f"{egress}/e", query="q", documents=["x", "y", "z"], top_n=2)
    assert [(one.index, one.relevance_score) for one in answer.results] == [(2, 0.98), (1, 0.5)]
    units = answer.meta.billed_units
    assert (units.search_units == 1) if egress == "cohere" else (units is None and answer.meta.tokens.input_tokens == 15)


@pytest.mark.shows("rerank, with the documents")
@pytest.mark.parametrize("egress", ["cohere", "jina"])
def test_coheres_older_sdk_reranks(older_cohere_client, egress):
    answer = older_cohere_client.rerank(model=f"{egress}/e", query="q", documents=[{"text": "x"}, {"text": "y"}],
                                        return_documents=True)
    assert [(one.index, one.document.text) for one in answer.results] == [(1, "y"), (0, "x")]


@pytest.mark.shows("chat, through Cohere's OpenAI-compatible API")
@pytest.mark.parametrize("egress", ["cohere"])
def test_chat_at_cohere(openai_client, egress):
    answer = openai_client.chat.completions.create(model=f"{egress}/c", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content == "said in chat"

"""Writes a language model of random weights: two layers, width 64, an alphabet of bytes.

It says nothing sensible, but a real engine runs it: real tokens, real streaming, real cancellation, grammar-constrained
JSON. Nothing is downloaded, and the seed is fixed, so every machine gets the same model.
"""

import sys

import gguf
import numpy

WIDTH, LAYERS, HEADS, FEED_FORWARD, CONTEXT = 64, 2, 4, 128, 32768
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def vocabulary():
    """Byte-level: three control tokens, all bytes, and the printable characters as tokens of their own."""
    tokens = [(b"<unk>", gguf.TokenType.UNKNOWN), (b"<s>", gguf.TokenType.CONTROL), (b"</s>", gguf.TokenType.CONTROL)]
    tokens += [(f"<0x{byte:02X}>".encode(), gguf.TokenType.BYTE) for byte in range(256)]
    tokens += [("\u2581".encode(), gguf.TokenType.NORMAL)]
    tokens += [(bytes([byte]), gguf.TokenType.NORMAL) for byte in range(0x21, 0x7F)]
    return tokens


def main(path):
    random = numpy.random.default_rng(7)

    def matrix(*shape, scale=0.2):
        return (random.standard_normal(shape) * scale).astype(numpy.float32)

    tokens = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)

    # Only printable characters get a voice: control tokens and bare bytes keep a logit of zero, far below the best of
    # the others. So the text is valid UTF-8 and an answer ends at its token limit, always.
    voices = matrix(len(tokens), WIDTH, scale=1.5)
    voices[: 3 + 256] = 0.0
    writer.add_tensor("token_embd.weight", matrix(len(tokens), WIDTH, scale=1.0))
    writer.add_tensor("output_norm.weight", numpy.ones(WIDTH, dtype=numpy.float32))
    writer.add_tensor("output.weight", voices)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", numpy.ones(WIDTH, dtype=numpy.float32))
        writer.add_tensor(f"{block}.ffn_norm.weight", numpy.ones(WIDTH, dtype=numpy.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}.{name}.weight", matrix(WIDTH, WIDTH))
        writer.add_tensor(f"{block}.ffn_gate.weight", matrix(FEED_FORWARD, WIDTH))
        writer.add_tensor(f"{block}.ffn_up.weight", matrix(FEED_FORWARD, WIDTH))
        writer.add_tensor(f"{block}.ffn_down.weight", matrix(WIDTH, FEED_FORWARD))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1])

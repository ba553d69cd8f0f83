"""A random model with the words of a real vocabulary, so that texts are cut into as many tokens as real ones are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf

from benchmarks import random_llama

_WORDS = "tokenizer.ggml."
_TEMPLATE = "tokenizer.chat_template"
_NORMAL = 1  # the type of a token that is text


def write(path: Path, vocabulary: Path, shape: random_llama.Shape = random_llama.LLAMA_1B) -> Path:
    """Write a random model whose words are those of the GGUF `vocabulary`; a smaller one is filled up to the shape's.

    The chat template comes with the words, as it names some of them; where there is none the random model's own stays.
    """
    words = _fields(vocabulary)
    tokens = words[_WORDS + "tokens"]
    bare = path.with_suffix(".bare")
    random_llama.write(bare, replace(shape, vocab=max(shape.vocab, len(tokens))))
    reader = gguf.GGUFReader(bare)
    words.setdefault(_TEMPLATE, reader.fields[_TEMPLATE].contents())
    size = int(reader.fields["llama.vocab_size"].contents())
    words[_WORDS + "tokens"] = [*tokens, *(f"w{n}" for n in range(size - len(tokens)))]
    words[_WORDS + "token_type"] = [*words[_WORDS + "token_type"], *[_NORMAL] * (size - len(tokens))]
    writer = gguf.GGUFWriter(str(path), "llama")
    kept = {key: field for key, field in reader.fields.items() if key.startswith(("general.", "llama."))}
    for key, field in kept.items():
        if key != "general.architecture":
            writer.add_key_value(key, field.contents(), field.types[0])
    for key, value in words.items():
        _add(writer, key, value)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    bare.unlink()
    return path


def _fields(path: Path) -> dict[str, Any]:
    reader = gguf.GGUFReader(path)
    return {key: field.contents() for key, field in reader.fields.items() if key.startswith("tokenizer.")}


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_string(key, value)

"""Write a model of transformers as GGUF.

Guarantees: one tensor at a time is in memory, whatever the model's size; a number that the type cannot hold is an error; the file
appears whole or not at all. Vectors are F32 in every type, as llama.cpp wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from agentkit.errors import Cancelled, ModelFileError
from agentkit_training.export.adapters import Adapter
from agentkit_training.export.folder import ModelFolder
from agentkit_training.export.rope import Rope, rope_of
from agentkit_training.export.vocabulary import Vocabulary, write_vocabulary
from agentkit_training.gguf_writer import ModelCard, interleave, write_card

__all__ = ["KINDS", "array_of", "encoded", "file_bytes", "kind_of", "whole_file", "write_model"]

Q = gguf.GGMLQuantizationType
KINDS = {
    "f32": (Q.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (Q.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (Q.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (Q.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
Step = Callable[[int, int], bool]


def write_model(
    folder: ModelFolder,
    vocabulary: Vocabulary,
    path: Path,
    *,
    kind: str,
    adapter: Adapter | None = None,
    step: Step = lambda done, total: False,
) -> Path:
    """Write a model to `path` and return it.

    Args:
        folder: the model.
        vocabulary: its tokens, checked.
        path: the file, which is replaced where it exists.
        kind: one of `KINDS`; Q8_0 keeps matrices whose rows are no multiple of 32 as F16.
        adapter: a LoRA that is added to the weights on the way.
        step: told after each tensor how many of how many are done; true: stop.

    Raises:
        ModelFileError: a tensor is missing, unknown, or not to be had in that type.
        Cancelled: `step` said so; nothing is left behind.
    """
    needed = folder.wanted()
    rope = rope_of(folder.config, folder.architecture, folder.shape, folder.path / "config.json")
    with whole_file(path, folder.architecture.name) as writer:
        _describe(writer, folder, rope, kind)
        write_vocabulary(writer, vocabulary)
        if rope.factors is not None:
            writer.add_tensor_info(
                "rope_freqs.weight", rope.factors.shape, rope.factors.dtype, rope.factors.nbytes, Q.F32
            )
        for one in needed.values():
            as_ = kind_of(one.shape, kind)
            size = int(np.prod(gguf.quant_shape_to_byte_shape(one.shape, as_)))
            writer.add_tensor_info(one.target, one.shape, np.dtype(np.float32), size, as_)
        _open(writer)
        if rope.factors is not None:
            writer.write_tensor_data(rope.factors)
        for done, one in enumerate(needed.values(), 1):
            tensor = folder.tensor(one.name)
            added = adapter.delta(one.name) if adapter is not None else None
            array = array_of(tensor if added is None else tensor.float() + added)
            if one.heads:
                array = interleave(array, one.heads)
            writer.write_tensor_data(encoded(array, kind_of(one.shape, kind), f"{folder.path}: {one.name}"))
            if step(done, len(needed)) and done < len(needed):
                raise Cancelled(f"{path}: stopped after {done} of {len(needed)} tensors; the same call begins anew")
    return path


@contextmanager
def whole_file(path: Path, architecture: str) -> Iterator[gguf.GGUFWriter]:
    """Give a writer of a file that gets its name at the end, and is removed if there is none."""
    partial = path.with_name(path.name + ".partial")
    writer = gguf.GGUFWriter(partial, architecture)
    try:
        yield writer
        writer.close()
        partial.replace(path)
    except BaseException:
        for file in writer.fout or ():
            file.close()
        partial.unlink(missing_ok=True)
        raise


def _open(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()


def kind_of(shape: Sequence[int], kind: str) -> Any:
    """Return how llama.cpp keeps a tensor in a file of a kind."""
    if len(shape) == 1:
        return Q.F32
    asked = KINDS[kind][0]
    return Q.F16 if asked == Q.Q8_0 and shape[-1] % 32 else asked


def file_bytes(folder: ModelFolder, kind: str) -> int:
    """Return how large the tensors of a file will be."""
    return sum(
        int(np.prod(gguf.quant_shape_to_byte_shape(one.shape, kind_of(one.shape, kind))))
        for one in folder.wanted().values()
    )


def array_of(tensor: Tensor) -> NDArray[np.float32]:
    """Return a tensor as numpy's, in 32 bits."""
    array: NDArray[np.float32] = tensor.float().contiguous().numpy()
    return array


def encoded(array: NDArray[np.float32], kind: Any, name: str) -> NDArray[Any]:
    """Return the bytes of a tensor in a type.

    Raises:
        ModelFileError: a number is not finite, or not in that type.
    """
    if not np.isfinite(array).all():
        raise ModelFileError(f"{name} holds NaN or infinity; the model is damaged, take an earlier checkpoint")
    if kind == Q.F32:
        return array
    if kind == Q.F16 and max(float(array.max()), -float(array.min())) > float(np.finfo(np.float16).max):
        raise ModelFileError(f"{name} holds numbers beyond 65504, which f16 has not; export it as bf16 or f32")
    found: NDArray[Any] = gguf.quants.quantize(array, kind)
    return found


def _describe(writer: gguf.GGUFWriter, folder: ModelFolder, rope: Rope, kind: str) -> None:
    """Put the card, the sizes and the rope among the keys."""
    shape = folder.shape
    card = _card(folder)
    if card is None:
        writer.add_name(folder.path.resolve().name)
    else:
        write_card(writer, card)
    writer.add_type("model")
    writer.add_file_type(KINDS[kind][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(shape.vocab)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(rope.base)
    if rope.scaling is not None:
        writer.add_rope_scaling_type(rope.scaling)
        writer.add_rope_scaling_factor(rope.factor)
    if rope.original:
        writer.add_rope_scaling_orig_ctx_len(rope.original)
    if rope.attention != 1.0:
        writer.add_rope_scaling_attn_factors(rope.attention)


def _card(folder: ModelFolder) -> ModelCard | None:
    """Return what config.json says to agentkit.

    Raises:
        ModelFileError: it says something that is not known.
    """
    told = folder.plain.get("agentkit")
    if told is None:
        return None
    kinds = {one.name: type(one.default) for one in fields(ModelCard) if one.name != "chat_template"}
    if not isinstance(told, dict) or any(not _is_a(value, kinds.get(name)) for name, value in told.items()):
        raise ModelFileError(f"{folder.path / 'config.json'}: agentkit is {told!r}; known are {', '.join(kinds)}")
    return ModelCard(**told)


def _is_a(value: object, kind: type | None) -> bool:
    """Whether a value of JSON is of a kind; a whole number is a float too, a bool is none."""
    return type(value) is kind or (kind is float and type(value) is int)

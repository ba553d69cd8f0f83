"""Write a LoRA of PEFT as GGUF, for llama.cpp to load beside the model.

Guarantees: llama.cpp adds what PEFT would: rows of queries and keys are in its order, and its one alpha and each pair's rank come to
PEFT's scale, also with rank-stabilised scaling (Kalajdzievski 2023) and with an alpha for each projection. The file appears whole or
not at all.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from agentkit_training.export.adapters import Adapter
from agentkit_training.export.folder import ModelFolder
from agentkit_training.export.writing import array_of, encoded, kind_of, whole_file
from agentkit_training.gguf_writer import interleave

__all__ = ["KINDS", "write_lora"]

KINDS = ("f32", "f16", "bf16")  # what is as small as an adapter gains nothing from fewer bits


def write_lora(folder: ModelFolder, adapter: Adapter, path: Path, *, kind: str) -> Path:
    """Write an adapter to `path` and return it.

    Args:
        folder: the model that it belongs to.
        adapter: the LoRA.
        path: the file, which is replaced where it exists.
        kind: one of `KINDS`.

    Raises:
        ModelFileError: a number is not to be had in that type.
    """
    needed = folder.wanted()
    ((alpha, _),) = Counter(pair.alpha for pair in adapter.pairs.values()).most_common(1)
    with whole_file(path, folder.architecture.name) as writer:
        writer.add_name(adapter.path.resolve().name)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        for name, pair in adapter.pairs.items():
            one = needed[name]
            a, b = adapter.matrices(name)
            rows = array_of(b * (pair.alpha / alpha))
            if one.heads:
                rows = interleave(rows, one.heads)
            for end, array in (("a", array_of(a)), ("b", rows)):
                data = encoded(array, kind_of(array.shape, kind), f"{adapter.path}: {name}")
                writer.add_tensor(f"{one.target}.lora_{end}", data, raw_dtype=kind_of(array.shape, kind))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    return path

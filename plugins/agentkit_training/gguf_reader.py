"""Read GGUF models through llama.cpp: their tokens, their logits at every place, and how their tensors are kept.

Guarantees: keys and values are F32 and nothing is fused, so that what two files differ by is the files'.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from agentkit.engine.llama.library import C
from agentkit.errors import ModelFileError

__all__ = ["GgufModel", "Tensor", "tensors"]

_F32, _NO_FLASH = 0, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """How one tensor is kept."""

    name: str
    kind: str  # F16, Q8_0, ...
    elements: int
    bytes: int

    @property
    def bits(self) -> float:
        """Bits a weight, scales included."""
        return 8 * self.bytes / self.elements


def tensors(path: Path) -> list[Tensor]:
    """Return a file's tensors in the order of the file.

    Raises:
        ModelFileError: it is no GGUF file.
    """
    from gguf import GGUFReader  # noqa: PLC0415  only where it is wanted

    try:
        found = GGUFReader(path).tensors
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ModelFileError(f"{path}: cannot be read as GGUF ({error}); give a .gguf file") from error
    return [
        Tensor(name=one.name, kind=one.tensor_type.name, elements=int(one.n_elements), bytes=int(one.n_bytes))
        for one in found
    ]


class GgufModel:
    """A model loaded to be looked at, a window at a time; close it, or use it in a `with` block.

    Args:
        path: the file.
        window: most tokens that are read at once.
        threads: that read them.

    Raises:
        ModelFileError: llama.cpp cannot load it.
    """

    def __init__(self, path: Path, *, window: int, threads: int = 2) -> None:
        C.llama_backend_init()
        self._model: Any = C.llama_model_load_from_file(os.fsencode(path), C.llama_model_default_params())
        if not self._model:
            raise ModelFileError(f"{path}: llama.cpp cannot load it; `agentkit models show {path}` says more")
        options = C.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = max(256, -(-window // 256) * 256)
        options.n_threads = options.n_threads_batch = threads
        options.type_k = options.type_v = _F32
        options.flash_attn_type = _NO_FLASH
        self._context: Any = C.llama_init_from_model(self._model, options)
        self._vocab = C.llama_model_get_vocab(self._model)
        self.width = int(C.llama_vocab_n_tokens(self._vocab))

    def tokens(self, text: str) -> list[int]:
        """Return a text's tokens, without those that begin or end one."""
        data = text.encode("utf-8")
        room = len(data) + 8
        found = (C.llama_token * room)()
        count = C.llama_tokenize(self._vocab, data, len(data), found, room, False, False)
        return list(found[: max(0, count)])

    @property
    def begin(self) -> list[int]:
        """The token that begins a text, where the model was trained with one."""
        return [int(C.llama_vocab_bos(self._vocab))] if C.llama_vocab_get_add_bos(self._vocab) else []

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits after each token, [tokens, vocabulary].

        Raises:
            ModelFileError: llama.cpp cannot decode.
        """
        C.llama_memory_clear(C.llama_get_memory(self._context), True)
        batch = C.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for place, token in enumerate(tokens):
                batch.token[place], batch.pos[place] = token, place
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
                batch.logits[place] = 1
            if C.llama_decode(self._context, batch) != 0:
                raise ModelFileError(f"llama.cpp cannot decode {len(tokens)} tokens; try a smaller window")
            flat = np.ctypeslib.as_array(C.llama_get_logits(self._context), (len(tokens), self.width))
            return np.array(flat, dtype=np.float32)
        finally:
            C.llama_batch_free(batch)

    def close(self) -> None:
        """Free it; idempotent."""
        if self._context:
            C.llama_free(self._context)
            C.llama_model_free(self._model)
            self._context = self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""The working memory of a model: what has been read so far, and the logits after it.

Guarantees: a prompt that begins like the last one is read only from where it differs; no call is made
that would end the process (batch and row counts are kept); an aborted or failed batch leaves the memory as it
was before it. Sequence 0 is the only one so far. Owned by one thread.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.engine.llama.library import C, abort_callback
from agentkit.engine.llama.model import Model
from agentkit.errors import ContextFull, EngineError, ModelError

__all__ = ["Aborted", "Context", "Logits"]

Logits = NDArray[np.float32]
SEQUENCE = 0
_ROWS_BYTES = 16 << 20  # of logits kept for scoring


class Aborted(Exception):
    """The abort flag was seen inside a batch. Never leaves this package: the job knows why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOptions:
    """How a context is laid out."""

    tokens: int
    threads: int
    batch: int = 512


class Context:
    """One llama.cpp context with one sequence."""

    def __init__(self, model: Model, options: ContextOptions) -> None:
        self._model = model
        self.batch_tokens = min(options.batch, options.tokens)
        self.max_rows = max(1, min(self.batch_tokens, 64, _ROWS_BYTES // (4 * model.n_vocab)))
        self._flag = ctypes.create_string_buffer(2)
        self._abort, self._keep = abort_callback()
        self._handle = C.llama_init_from_model(model.handle, self._params(options))
        if not self._handle:
            raise ModelError(
                f"{model.path}: no memory for a context of {options.tokens} tokens; set engine.context lower"
            )
        C.llama_set_abort_callback(self._handle, self._abort, ctypes.cast(self._flag, ctypes.c_void_p))
        self._memory = C.llama_get_memory(self._handle)
        self.size = int(C.llama_n_ctx(self._handle))
        self.tokens: list[int] = []
        """What sequence 0 holds."""
        self._batch = _Batch(self.batch_tokens)

    def rewind(self, tokens: Sequence[int]) -> int:
        """Forget everything after the longest common beginning with `tokens`; return its length."""
        return self._keep_first(_common(self.tokens, tokens))

    def read(self, tokens: Sequence[int]) -> Logits:
        """Read `tokens` after what is held; return the logits after the last one, valid until the next call.

        Raises:
            ContextFull: they do not fit; nothing was read.
            Aborted: the flag was set; whole batches read before it are kept.
        """
        self._make_sure_it_fits(len(tokens))
        for start in range(0, len(tokens), self.batch_tokens):
            part = tokens[start : start + self.batch_tokens]
            self._decode(part, rows=1 if start + len(part) == len(tokens) else 0)
        return self._row(-1)

    def read_all_rows(self, tokens: Sequence[int]) -> list[Logits]:
        """Read `tokens`; return a copy of the logits after each of them."""
        self._make_sure_it_fits(len(tokens))
        rows: list[Logits] = []
        for start in range(0, len(tokens), self.max_rows):
            part = tokens[start : start + self.max_rows]
            self._decode(part, rows=len(part))
            rows += [self._row(n).copy() for n in range(len(part))]
        return rows

    def abort(self, on: bool) -> None:
        """Set or clear the flag that ends a running batch; the one method for any thread."""
        self._flag[0] = b"\x01" if on else b"\x00"

    def close(self) -> None:
        """Free it; idempotent."""
        if self._handle:
            C.llama_free(self._handle)
            self._handle = None

    def _params(self, options: ContextOptions) -> Any:
        params = C.llama_context_default_params()
        params.n_ctx = options.tokens
        params.n_batch = params.n_ubatch = self.batch_tokens
        params.n_seq_max = 1
        params.kv_unified = True
        params.n_outputs_max = self.max_rows
        params.n_threads = params.n_threads_batch = options.threads
        params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.no_perf = True
        return params

    def _make_sure_it_fits(self, n: int) -> None:
        if len(self.tokens) + n > self.size:
            raise ContextFull(
                f"{len(self.tokens) + n} tokens do not fit into a context of {self.size}; "
                "shorten the conversation, or set engine.context higher"
            )

    def _decode(self, tokens: Sequence[int], rows: int) -> None:
        held = len(self.tokens)
        status = C.llama_decode(self._handle, self._batch.fill(tokens, held, rows))
        if status == 0:
            self.tokens += tokens
            return
        self._keep_first(held)
        if status == 2:
            raise Aborted
        if status == 1:
            raise ContextFull(f"no room for {len(tokens)} more tokens after {held}; set engine.context higher")
        raise EngineError(f"llama.cpp failed to read {len(tokens)} tokens (status {status}); try again")

    def _keep_first(self, n: int) -> int:
        if n < len(self.tokens) or n == 0:
            kept = C.llama_memory_seq_rm(self._memory, SEQUENCE, n, -1)
            if not kept:  # recurrent models cannot forget a part
                C.llama_memory_clear(self._memory, True)
                n = 0
            del self.tokens[n:]
        else:  # a failed batch may have left cells of its own
            C.llama_memory_seq_rm(self._memory, SEQUENCE, n, -1)
        return n

    def _row(self, index: int) -> Logits:
        pointer = C.llama_get_logits_ith(self._handle, index)
        if not pointer:
            raise EngineError("llama.cpp has no logits for this position; report it with the model's name")
        return np.ctypeslib.as_array(pointer, shape=(self._model.n_vocab,))


class _Batch:
    """A `llama_batch` over numpy arrays: filling it runs no Python loop."""

    def __init__(self, room: int) -> None:
        self._token = np.zeros(room, np.int32)
        self._position = np.zeros(room, np.int32)
        self._counts = np.ones(room, np.int32)
        self._ids = np.full((room, 1), SEQUENCE, np.int32)
        self._output = np.zeros(room, np.int8)
        self._rows = (self._ids.ctypes.data + np.arange(room, dtype=np.uintp) * self._ids.strides[0]).astype(np.uintp)
        self._batch = C.llama_batch(
            0,
            _pointer(self._token, C.llama_token),
            None,
            _pointer(self._position, C.llama_pos),
            _pointer(self._counts, ctypes.c_int32),
            ctypes.cast(self._rows.ctypes.data, ctypes.POINTER(ctypes.POINTER(C.llama_seq_id))),
            _pointer(self._output, ctypes.c_int8),
        )

    def fill(self, tokens: Sequence[int], first: int, rows: int) -> Any:
        """Return the batch of `tokens` at positions from `first`, logits wanted for the last `rows`."""
        n = len(tokens)
        self._token[:n] = tokens
        self._position[:n] = np.arange(first, first + n)
        self._output[:n] = 0
        if rows:
            self._output[n - rows : n] = 1
        self._batch.n_tokens = n
        return self._batch


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))


def _common(held: Sequence[int], wanted: Sequence[int]) -> int:
    n = min(len(held), len(wanted))
    differs = np.flatnonzero(np.asarray(held[:n]) != np.asarray(wanted[:n]))
    return int(differs[0]) if differs.size else n

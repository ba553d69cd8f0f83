"""The working memory of a model: sequences that share one pool of cells, read in batches.

Guarantees: no call is made that would end the process (batch size, rows, positions and sequence numbers are checked or
kept); an aborted or failed batch leaves every sequence as it was before it. Owned by one thread; `abort` is for any.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentkit.engine.llama.library import C, abort_callback, logits_address, supports_gpu
from agentkit.engine.llama.model import Model
from agentkit.engine.llama.rows import Row, Span
from agentkit.errors import EngineError, ModelError, UnsupportedPart

__all__ = ["Aborted", "Context", "ContextOptions", "Logits", "NoRoom", "Part"]

Logits = NDArray[np.float32]
MAX_SEQUENCES = 256  # LLAMA_MAX_SEQ: numbers beyond a context's own may hold cells, and are not decoded
_ROWS_BYTES = 16 << 20  # of logits in one batch


class Aborted(Exception):
    """The abort flag was seen inside a batch. Never leaves this package: the job knows why."""


class NoRoom(Exception):
    """The pool has no cells for the batch; nothing was changed. Never leaves this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOptions:
    """How a context is laid out."""

    tokens: int  # cells in the pool
    threads: int
    batch: int = 512  # tokens a batch
    live: int = 16  # sequences that can be read into; at most 128
    kv_type: int = C.GGML_TYPE_F16
    exact: bool = False  # what is read does not depend on what it is batched with; see `_params`
    embeddings: bool = False


class Part(NamedTuple):
    """What one sequence reads in a batch: `tokens` after what it holds; `rows` are the indices with logits wanted.

    A batch holds tokens of the vocabulary, or `Row`s, but not both.
    """

    sequence: int
    tokens: Sequence[int]
    rows: Sequence[int] = ()


class Context:
    """One llama.cpp context. Sequences 0 to `live` - 1 can be read into, all up to 255 can hold.

    Number `live` is spare: states are saved from it and restored into it, whatever else is in use.
    """

    def __init__(self, model: Model, options: ContextOptions) -> None:
        self._model, self.options = model, options
        self.batch_tokens = min(options.batch, options.tokens)
        self.live = max(1, min(options.live, 128))
        fitting = max(1, min(self.batch_tokens, 64, _ROWS_BYTES // (4 * model.n_vocab)))
        self.max_rows = self.batch_tokens if options.embeddings else max(self.live, fitting)
        self._flag = ctypes.create_string_buffer(2)
        self._abort, self._keep = abort_callback()
        self._handle = C.llama_init_from_model(model.handle, self._params(options))
        if not self._handle:
            raise ModelError(
                f"{model.path}: no memory for a context of {options.tokens} tokens; set engine.context lower"
            )
        C.llama_set_abort_callback(self._handle, self._abort, ctypes.cast(self._flag, ctypes.c_void_p))
        self._memory = C.llama_get_memory(self._handle)
        self.spare = self.live
        self.size = int(C.llama_n_ctx(self._handle))
        self.can_cut = not (C.llama_model_is_recurrent(model.handle) or C.llama_model_is_hybrid(model.handle))
        """Whether a sequence can forget its end; a recurrent memory is all or nothing."""
        self._held = [0] * MAX_SEQUENCES
        self._adapters: tuple[tuple[Any, float], ...] = ()
        self._batch = _Batch(self.batch_tokens, self.size, all_out=options.embeddings)
        self._views: dict[int, Logits] = {}  # of rows, by address: making one takes longer than choosing a token

    @cached_property
    def _rows_batch(self) -> _RowsBatch:
        """Made when the first picture comes: it has megabytes."""
        return _RowsBatch(self.batch_tokens, self.size, self._model)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are; ids beyond are `Row`s."""
        return self._model.n_vocab

    def length(self, sequence: int) -> int:
        """Return how many tokens a sequence holds."""
        return self._held[sequence]

    def decode(self, parts: Sequence[Part]) -> list[list[Logits]]:
        """Read one batch; return the wanted rows of each part, views that are valid until the next call.

        Raises:
            NoRoom: the pool is full. Aborted: the flag was set. Both leave every sequence as it was.
            EngineError: the batch is not one that can be read, or llama.cpp refused it; the same holds.
        """
        total, rows, seen = 0, 0, set[int]()
        for sequence, tokens, wanted in parts:
            if not 0 <= sequence < self.live:
                raise EngineError("a sequence that is only held cannot be read into; this is a defect of agentkit")
            if sequence in seen or not tokens:
                raise EngineError("a sequence is twice in a batch, or without tokens; this is a defect of agentkit")
            if self._held[sequence] + len(tokens) > self.size:
                raise NoRoom
            seen.add(sequence)
            total, rows = total + len(tokens), rows + len(wanted)
        if not 0 < total <= self.batch_tokens or rows > self.max_rows:
            raise EngineError(
                f"a batch of {total} tokens and {rows} rows; at most {self.batch_tokens}, {self.max_rows}"
            )
        if isinstance(parts[0].tokens[0], Row):
            filled = self._rows_batch.fill(parts, self._held)
        else:
            filled = self._batch.fill(parts, self._held)
        status = C.llama_decode(self._handle, filled)
        if status:
            self._undo(parts, status, total)
        found, start = [], 0
        for sequence, tokens, wanted in parts:
            self._held[sequence] += len(tokens)
            found.append([self._row(start + n) for n in wanted])
            start += len(tokens)
        return found

    def decode_whole(self, part: Part, span: Span) -> None:
        """Read a span that cannot be cut, alone; where that takes several batches, one after another.

        Raises:
            NoRoom, Aborted, EngineError: as `decode` does; the sequence is as it was.
            UnsupportedPart: it has more rows than this model can read at once.
        """
        sequence, rows, first = part.sequence, span.rows, self._held[part.sequence]
        count = len(rows.values)
        if len(part.tokens) != rows.length:
            raise EngineError("a piece of a picture cannot be read alone; go back to before it, or on to its end")
        if count > self.batch_tokens and not (rows.causal and self.can_cut):
            raise UnsupportedPart(
                f"the picture has {count} rows, and {self._model.name} must read them at once: at most "
                f"{self.batch_tokens} here; use a smaller picture"
            )
        if first + rows.length > self.size:
            raise NoRoom
        C.llama_set_causal_attn(self._handle, rows.causal)
        try:
            for at in range(0, count, self.batch_tokens):
                filled = self._rows_batch.fill_span(sequence, span, at, first)
                if status := C.llama_decode(self._handle, filled):
                    if at:
                        self.keep_first(sequence, first)
                    self._undo([part], status, count)
        finally:
            C.llama_set_causal_attn(self._handle, True)
        self._held[sequence] += rows.length

    def copy(self, source: int, target: int, length: int) -> None:
        """Have `target`, which must hold nothing, hold the first `length` tokens of `source`: no cell is copied.

        A recurrent memory is copied whole or, where `length` is less, not at all.
        """
        whole = length == self._held[source]
        if length and (whole or self.can_cut):
            C.llama_memory_seq_cp(self._memory, source, target, 0, -1 if whole else length)
            self._held[target] = length

    def keep_first(self, sequence: int, length: int) -> int:
        """Forget what a sequence holds after `length` tokens; return what is left, 0 where a part cannot be kept."""
        if not C.llama_memory_seq_rm(self._memory, sequence, length or -1, -1):
            C.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            length = 0
        self._held[sequence] = min(length, self._held[sequence])
        return self._held[sequence]

    def save(self, sequence: int) -> NDArray[np.uint8]:
        """Return the state of a sequence as bytes."""
        size = int(C.llama_state_seq_get_size(self._handle, sequence))
        data = np.empty(size, np.uint8)
        written = C.llama_state_seq_get_data(self._handle, _pointer(data, ctypes.c_uint8), size, sequence)
        return data[: int(written)]

    def restore(self, sequence: int, data: NDArray[np.uint8], length: int) -> bool:
        """Put a saved state of `length` tokens into a sequence that holds nothing; whether it fitted."""
        read = C.llama_state_seq_set_data(self._handle, _pointer(data, ctypes.c_uint8), len(data), sequence)
        if not read:
            C.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            return False
        self._held[sequence] = length
        return True

    def use_adapters(self, adapters: tuple[tuple[Any, float], ...]) -> None:
        """Set the (llama.cpp's pointer, scale) of the adapters for all that is read from now on."""
        if adapters == self._adapters:
            return
        handles = (C.llama_adapter_lora_p_ctypes * max(1, len(adapters)))(*(handle for handle, _ in adapters))
        scales = (ctypes.c_float * max(1, len(adapters)))(*(scale for _, scale in adapters))
        if C.llama_set_adapters_lora(self._handle, handles if adapters else None, len(adapters), scales):
            raise EngineError("llama.cpp refused the adapters; they were made for another model")
        self._adapters = adapters

    def embedding(self, sequence: int) -> NDArray[np.float32]:
        """Return the pooled embedding of a sequence that was just read; only where `embeddings` is set."""
        pointer = C.llama_get_embeddings_seq(self._handle, sequence)
        if not pointer:
            raise EngineError(f"{self._model.name} gives no embedding; use a model made for it")
        return np.ctypeslib.as_array(pointer, shape=(self._model.n_embd,)).copy()

    def abort(self, on: bool) -> None:
        """Set or clear the flag that ends a running batch; the one method for any thread."""
        self._flag[0] = b"\x01" if on else b"\x00"

    def close(self) -> None:
        """Free it; idempotent."""
        if self._handle:
            C.llama_free(self._handle)
            self._handle = None

    def _params(self, options: ContextOptions) -> Any:
        """Return llama.cpp's parameters.

        Its flash attention on a CPU adds up in F16, and in another order from 64 tokens on, so that results depend on the
        size of the batch: by up to 0.2 nats on a random model. It also reads an F32 cache as F16. So `exact` is without
        it, and with a cache in F32: twice the memory, and results that are the same to 1e-4.
        """
        params = C.llama_context_default_params()
        params.n_ctx = options.tokens
        params.n_batch = params.n_ubatch = self.batch_tokens
        params.n_seq_max = self.live + (not options.embeddings)  # pooling asserts that it divides the batch
        params.kv_unified = True
        params.n_outputs_max = max(self.max_rows, params.n_seq_max)
        params.n_threads = params.n_threads_batch = options.threads
        auto = supports_gpu() or options.embeddings
        params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_AUTO if auto else C.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.type_k = params.type_v = options.kv_type
        if options.exact:
            params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_DISABLED
            params.type_k = params.type_v = C.GGML_TYPE_F32
        params.no_perf = True
        if options.embeddings:
            params.embeddings = True
            params.pooling_type = C.LLAMA_POOLING_TYPE_MEAN
        return params

    def _undo(self, parts: Sequence[Part], status: int, total: int) -> None:
        if status == 1:
            raise NoRoom
        for part in parts:  # llama.cpp itself forgets only the first number of each token
            self.keep_first(part.sequence, self._held[part.sequence])
        if status == 2:
            raise Aborted
        raise EngineError(f"llama.cpp failed to read {total} tokens (status {status}); try again")

    def _row(self, index: int) -> Logits:
        address = logits_address(self._handle, index)
        if not address:
            raise EngineError("llama.cpp has no logits for this position; report it with the model's name")
        if address not in self._views:
            if len(self._views) >= 2 * self.max_rows:  # the buffer has moved
                self._views.clear()
            row = (ctypes.c_float * self._model.n_vocab).from_address(address)
            self._views[address] = np.ctypeslib.as_array(row)
        return self._views[address]


class _Batch:
    """A `llama_batch` over numpy arrays: filling it runs no loop over tokens."""

    def __init__(self, room: int, size: int, *, all_out: bool = False) -> None:
        self._all_out = int(all_out)
        self._counting = np.arange(size, dtype=np.int32)
        self._token = np.zeros(room, np.int32)
        self._position = np.zeros(room, np.int32)
        self._counts = np.ones(room, np.int32)
        self._ids = np.zeros((room, 1), np.int32)
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

    def fill(self, parts: Sequence[Part], held: Sequence[int]) -> Any:
        """Return the batch of these parts, each after what its sequence holds."""
        at = 0
        for sequence, tokens, rows in parts:
            end = at + len(tokens)
            first = held[sequence]
            self._put(at, end, tokens)
            self._position[at:end] = self._counting[first : first + len(tokens)]
            self._ids[at:end] = sequence
            self._output[at:end] = self._all_out
            for row in rows:
                self._output[at + row] = 1
            at = end
        self._batch.n_tokens = at
        return self._batch

    def _put(self, at: int, end: int, tokens: Sequence[int]) -> None:
        self._token[at:end] = tokens


class _RowsBatch(_Batch):
    """A `llama_batch` of embeddings instead of tokens."""

    def __init__(self, room: int, size: int, model: Model) -> None:
        super().__init__(room, size)
        self._values = np.zeros((room, model.n_embd_input), np.float32)
        self._batch.token, self._batch.embd = None, _pointer(self._values, ctypes.c_float)
        self._dimensions = model.position_dimensions
        self._positions = np.zeros(self._dimensions * room, np.int32)  # one dimension after another
        self._batch.pos = _pointer(self._positions, C.llama_pos)

    def fill(self, parts: Sequence[Part], held: Sequence[int]) -> Any:
        """Return the batch of these parts, whose tokens are `Row`s."""
        batch = super().fill(parts, held)
        at = self._position[: batch.n_tokens]
        self._lay_out(np.stack([at, at, at, np.zeros_like(at)])[: self._dimensions])
        return batch

    def fill_span(self, sequence: int, span: Span, at: int, first: int) -> Any:
        """Return the batch of as many rows of a whole span, from row `at` on, as fit; `first` is its first position."""
        rows = span.rows
        some = slice(at, at + len(self._values))
        count = len(rows.values[some])
        self._values[:count] = rows.values[some]
        self._ids[:count], self._output[:count] = sequence, 0
        if rows.positions is None:
            place = first + self._counting[some][:count]
            self._lay_out(np.stack([place, place, place, np.zeros_like(place)])[: self._dimensions])
        else:
            moved = rows.positions[:, some] + first * np.array(rows.moves, np.int32)[:, np.newaxis]
            self._lay_out(moved[: self._dimensions])
        self._batch.n_tokens = count
        return self._batch

    def _lay_out(self, positions: NDArray[np.int32]) -> None:
        self._positions[: positions.size] = positions.ravel()

    def _put(self, at: int, end: int, tokens: Sequence[int]) -> None:
        for place, token in enumerate(tokens, at):
            if not isinstance(token, Row):
                raise EngineError("tokens and rows in one batch; this is a defect of agentkit")
            self._values[place] = token.span.rows.values[token.place]


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))

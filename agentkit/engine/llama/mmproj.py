"""Eyes and ears that came with a model: its mmproj file, through llama.cpp's mtmd.

Guarantees: pictures are seen one at a time, whoever asks; what mtmd logs goes where llama.cpp's log goes; a file that is no
picture, or one of too many pixels, is refused before it is decoded.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import mtmd_cpp as M
from numpy.typing import NDArray

from agentkit.engine.llama.library import log_callback, overheard
from agentkit.engine.llama.model import Model
from agentkit.engine.llama.rows import Rows, Seen
from agentkit.errors import EngineError, ModelFileError, UnsupportedPart
from agentkit.media import pixels

__all__ = ["MAX_PIXELS", "Projector"]

MAX_PIXELS = 50_000_000  # of a picture; three bytes each are decoded

M.mtmd_helper_log_set(log_callback, ctypes.c_void_p(0))


class Projector:
    """One loaded mmproj; thread-safe."""

    def __init__(self, path: Path, model: Model, *, threads: int, on_gpu: bool) -> None:
        """Load it.

        Raises:
            ModelFileError: llama.cpp cannot, or it belongs to another model.
        """
        self._path, self._model, self._lock = path, model, threading.Lock()
        params = M.mtmd_context_params_default()
        params.use_gpu, params.n_threads, params.print_timings = on_gpu, threads, False
        params.warmup = False
        with overheard() as said:
            self._handle = M.mtmd_init_from_file(os.fsencode(path), model.handle, params)
        if not self._handle:
            why = f" ({said[-1]})" if said else ""
            raise ModelFileError(
                f"{path}: llama.cpp cannot use it with {model.name}{why}; get the mmproj from where the model came from"
            )
        self._dimensions = 4 if M.mtmd_decode_use_mrope(self._handle) else 1

    def see(self, data: bytes, decoded: NDArray[np.uint8] | None = None) -> Seen:
        """Return the tokens around a picture or a sound, and its rows.

        Args:
            data: the file's bytes.
            decoded: its pixels, (height, width, 3), where somebody else has decoded it.

        Raises:
            UnsupportedPart: it cannot be decoded, or is too large.
            EngineError: the encoder failed.
        """
        count = pixels(data)
        if count is not None and count > MAX_PIXELS:
            raise UnsupportedPart(
                f"a picture of {count / 1e6:.0f} million pixels; at most {MAX_PIXELS // 1_000_000} million are shown: "
                "make it smaller"
            )
        with self._lock, self._bitmap(data, decoded) as bitmap, self._chunks(bitmap) as chunks:
            seen: list[int | Rows] = []
            for n in range(M.mtmd_input_chunks_size(chunks)):
                chunk = M.mtmd_input_chunks_get(chunks, n)
                if M.mtmd_input_chunk_get_type(chunk) == M.MTMD_INPUT_CHUNK_TYPE_TEXT:
                    size = ctypes.c_size_t()
                    tokens = M.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(size))
                    seen += tokens[: size.value] if tokens else []
                else:
                    seen.append(self._rows(chunk))
            return seen

    def close(self) -> None:
        """Free it; idempotent."""
        with self._lock:
            if self._handle:
                M.mtmd_free(self._handle)
                self._handle = None

    @contextmanager
    def _bitmap(self, data: bytes, decoded: NDArray[np.uint8] | None) -> Iterator[Any]:
        if not self._handle:
            raise EngineError("the engine is closed; open it again")
        if decoded is None:
            buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
            bitmap = M.mtmd_helper_bitmap_init_from_buf(self._handle, buffer, len(data), False)
        else:
            bitmap = _bitmap_of(decoded)
        if not bitmap:
            raise UnsupportedPart(
                "a picture or sound that cannot be decoded: it is damaged, or of a form that llama.cpp does not read; "
                "convert it to PNG, JPEG, WAV or MP3"
            )
        try:
            yield bitmap
        finally:
            M.mtmd_bitmap_free(bitmap)

    @contextmanager
    def _chunks(self, bitmap: Any) -> Iterator[Any]:
        """Yield what stands for a bitmap alone: the model's own tokens around it, and its slices."""
        chunks = M.mtmd_input_chunks_init()
        try:
            marker = M.mtmd_default_marker()
            text = M.mtmd_input_text(text=marker, text_len=len(marker), add_special=False, parse_special=True)
            bitmaps = (M.mtmd_bitmap_p_ctypes * 1)(bitmap)
            if M.mtmd_tokenize(self._handle, chunks, ctypes.byref(text), bitmaps, 1):
                raise UnsupportedPart(f"{self._path}: the picture or sound cannot be prepared; use another")
            yield chunks
        finally:
            M.mtmd_input_chunks_free(chunks)

    def _rows(self, chunk: Any) -> Rows:
        count, length = M.mtmd_input_chunk_get_n_tokens(chunk), M.mtmd_input_chunk_get_n_pos(chunk)
        if M.mtmd_encode_chunk(self._handle, chunk):
            raise EngineError(f"{self._path}: llama.cpp failed to encode the picture or sound; try a smaller one")
        width = self._model.n_embd_input
        values = np.ctypeslib.as_array(M.mtmd_get_output_embd(self._handle), shape=(count, width)).copy()
        rows = Rows(
            values=values,
            length=int(length),
            causal=not M.mtmd_decode_use_non_causal(self._handle, chunk),
        )
        return rows if self._dimensions == 1 else _placed(rows, chunk)


def _bitmap_of(pixels: NDArray[np.uint8]) -> Any:
    """Return what mtmd copies pixels into."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise EngineError(
            f"a picture was decoded to {pixels.dtype} of shape {pixels.shape}, not uint8 (height, width, 3)"
        )
    height, width, _ = pixels.shape
    flat = np.ascontiguousarray(pixels)
    return M.mtmd_bitmap_init(width, height, ctypes.cast(flat.ctypes.data, ctypes.POINTER(ctypes.c_uint8)))


def _placed(rows: Rows, chunk: Any) -> Rows:
    """Return `rows` with their four positions."""
    count, image = len(rows.values), M.mtmd_input_chunk_get_tokens_image(chunk)
    if not image:  # a sound goes on like a text
        step = np.arange(count, dtype=np.int32)
        return replace(rows, positions=np.stack([step, step, step, np.zeros_like(step)]))
    at_0, at_1 = _places(image, 0, count), _places(image, 1, count)
    return replace(rows, positions=at_0, moves=tuple(int(one) for one in (at_1 - at_0)[:, 0]))


def _places(image: Any, begin: int, count: int) -> NDArray[np.int32]:
    """Return the positions of an image's rows, (4, count), in the order of llama.cpp's batches: t, y, x, z."""
    found = (M.mtmd_decoder_pos * count)()
    M.mtmd_helper_image_get_decoder_pos(image, begin, found)
    by_row = np.frombuffer(found, np.uint32).reshape(count, 4).astype(np.int32)
    return np.ascontiguousarray(by_row[:, [0, 2, 1, 3]].T)

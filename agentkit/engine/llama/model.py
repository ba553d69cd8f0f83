"""One loaded model: its weights, its vocabulary, and what its file says about itself.

Guarantees: token pieces of any length survive; contents can never become control tokens; everything here
may be called from any thread (nothing changes after loading) until `close`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llguidance import LLTokenizer

from agentkit.engine.llama import amx
from agentkit.engine.llama.library import C, supports_gpu
from agentkit.errors import CannotEnforce, ModelFileError, ModelNotFound

if TYPE_CHECKING:
    from agentkit.models.gguf import GGUFInfo

__all__ = ["Model"]

_SEVERAL = (C.LLAMA_ROPE_TYPE_MROPE, C.LLAMA_ROPE_TYPE_IMROPE)
_SPECIAL = C.LLAMA_TOKEN_ATTR_CONTROL | C.LLAMA_TOKEN_ATTR_UNKNOWN


class Model:
    """A GGUF in memory. Weights are mapped, so two processes share them."""

    def __init__(self, path: Path, *, gpu_layers: str = "auto", extra_buffers: bool | None = None) -> None:
        """Load `path`.

        Args:
            path: the GGUF.
            gpu_layers: "auto", "none" or "all".
            extra_buffers: whether weights may be copied into layouts that suit the processor; None: where that works.

        Raises:
            ModelNotFound: there is no such file.
            ModelFileError: it is not a GGUF that llama.cpp can load.
        """
        self.path, self._info = path, inspect_file(path)
        params = C.llama_model_default_params()
        wants_gpu = gpu_layers == "all" or (gpu_layers == "auto" and supports_gpu())
        params.n_gpu_layers = 999 if wants_gpu else 0
        params.use_extra_bufts = amx.works(path) if extra_buffers is None else extra_buffers
        self.handle = C.llama_model_load_from_file(os.fsencode(path), params)
        if not self.handle:
            raise ModelFileError(
                f"{path}: llama.cpp cannot load it (AGENTKIT_LOG_LEVEL=debug shows why); "
                "an unsupported architecture or a damaged file: fetch it again, or another conversion of it"
            )
        self.vocab = C.llama_model_get_vocab(self.handle)
        self.n_vocab = int(C.llama_vocab_n_tokens(self.vocab))
        self.n_embd = int(C.llama_model_n_embd(self.handle))
        self.n_embd_input = int(C.llama_model_n_embd_inp(self.handle))  # of what is read; some take more than they give
        rope = int(C.llama_model_rope_type(self.handle))
        self.position_dimensions = 4 if rope in _SEVERAL else 1  # of a picture's rows
        self.trained_context = int(C.llama_model_n_ctx_train(self.handle))
        self.metadata = _metadata(self.handle)
        self.pieces: tuple[bytes, ...] = tuple(_pieces(self.vocab, self.n_vocab))
        self.attributes: tuple[int, ...] = tuple(
            int(C.llama_vocab_get_attr(self.vocab, token)) for token in range(self.n_vocab)
        )
        self._tokenised = lru_cache(maxsize=256)(self._tokenise)  # a conversation is rendered at every step
        self.end_ids: tuple[int, ...] = tuple(
            token for token in range(self.n_vocab) if C.llama_vocab_is_eog(self.vocab, token)
        )

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """What people call it: the file's own name for itself, else the file's name."""
        return self.metadata.get("general.name") or self.path.stem

    @property
    def weight_bytes(self) -> int:
        """How much room the weights take."""
        return self._info.weight_bytes

    @property
    def bos_id(self) -> int:
        """The token a text begins with; -1 where there is none."""
        return int(C.llama_vocab_bos(self.vocab))

    @property
    def turn_end_id(self) -> int:
        """The token that closes a turn: the end of turn, or else the end of text."""
        end_of_turn = int(C.llama_vocab_eot(self.vocab))
        return end_of_turn if end_of_turn >= 0 else int(C.llama_vocab_eos(self.vocab))

    @property
    def adds_bos(self) -> bool:
        """Whether prompts of this model begin with `bos_id`."""
        return bool(C.llama_vocab_get_add_bos(self.vocab))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the file, computed when first asked for."""
        return self._info.sha256()

    @cached_property
    def control_ids(self) -> dict[bytes, int]:
        """Text of each control token -> its id."""
        return {self.pieces[token]: token for token in range(self.n_vocab) if self.is_control(token)}

    @cached_property
    def constrainer(self) -> LLTokenizer:
        """The vocabulary as llguidance wants it: control tokens marked by a leading 0xff.

        Raises:
            CannotEnforce: it is none that grammars can be held with.
        """
        tokens = [b"\xff" + piece if self.is_control(token) else piece for token, piece in enumerate(self.pieces)]
        try:
            return LLTokenizer.from_llamacpp(
                tokens=tokens,
                vocab_ptr=self.vocab,
                tokenize_fptr=ctypes.cast(C._lib.llama_tokenize, ctypes.c_void_p).value,
                eos_token=list(self.end_ids),
            )
        except Exception as error:  # it says nothing of what it raises
            raise CannotEnforce(
                f"{self.path}: llguidance cannot use its vocabulary ({error}); get another conversion of the model"
            ) from error

    def is_control(self, token: int) -> bool:
        """Whether `token` is a control token: never a part of contents."""
        return bool(self.attributes[token] & _SPECIAL) or token in self.end_ids or self._looks_like_markup(token)

    def tokenise(self, text: str, *, special: bool = False) -> list[int]:
        """Return the tokens of `text`. Only with `special` can control tokens come out."""
        return list(self._tokenised(text, special))

    def _tokenise(self, text: str, special: bool) -> tuple[int, ...]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            buffer = (C.llama_token * room)()
            n = C.llama_tokenize(self.vocab, data, len(data), buffer, room, False, special)
            if n >= 0:
                return tuple(buffer[:n])
            room = -n

    def bytes_of(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes that `tokens` stand for, control tokens included; pictures have none."""
        return b"".join(self.pieces[token] for token in tokens if token < self.n_vocab)

    def knows(self, tokens: Sequence[int]) -> bool:
        """Whether every one of `tokens` is an id of this vocabulary."""
        return all(0 <= token < self.n_vocab for token in tokens)

    def close(self) -> None:
        """Free the weights; idempotent."""
        if self.handle:
            C.llama_model_free(self.handle)
            self.handle = None

    def _looks_like_markup(self, token: int) -> bool:
        user_defined = self.attributes[token] & C.LLAMA_TOKEN_ATTR_USER_DEFINED
        return bool(user_defined) and self.pieces[token][:1] == b"<" and self.pieces[token][-1:] == b">"


def inspect_file(path: Path) -> GGUFInfo:
    """Return what the file holds, or refuse it before llama.cpp sees it, which may end the process over it.

    Raises:
        ModelNotFound, ModelFileError: as said there.
    """
    from agentkit.models.gguf import inspect  # noqa: PLC0415  a peer of this package, met only here

    if not path.is_file():
        raise ModelNotFound(f"{path}: no such file; `agentkit models list` shows what there is")
    return inspect(path)


def _pieces(vocab: Any, n_vocab: int) -> Iterable[bytes]:
    room = 256
    buffer = ctypes.create_string_buffer(room)
    for token in range(n_vocab):
        n = C.llama_token_to_piece(vocab, token, buffer, room, 0, True)
        if n < 0:
            room = -n
            buffer = ctypes.create_string_buffer(room)
            n = C.llama_token_to_piece(vocab, token, buffer, room, 0, True)
        yield buffer.raw[:n]


def _metadata(model: Any) -> dict[str, str]:
    """Return the file's metadata, arrays left out; long values (chat templates) are whole."""
    found = {}
    for index in range(C.llama_model_meta_count(model)):
        key = _string(C.llama_model_meta_key_by_index, model, index)
        if not key.startswith("tokenizer.ggml.") or key.endswith(("_id", ".model", ".pre")):
            found[key] = _string(C.llama_model_meta_val_str_by_index, model, index)
    return found


def _string(read: Any, model: Any, index: int) -> str:
    buffer = ctypes.create_string_buffer(256)
    n = read(model, index, buffer, 256)
    if n >= 256:
        buffer = ctypes.create_string_buffer(n + 1)
        n = read(model, index, buffer, n + 1)
    return buffer.raw[: max(n, 0)].decode("utf-8", "replace")

"""Ask any model of llama.cpp that sees: through its mmproj, or through an eye that gives it rows in place of tokens.

It runs in the agent's own engine, so a model that is loaded there is loaded once. Answers are greedy. The confidence is the
product of the probabilities of the tokens that were decoded.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from threading import Lock

from agentkit.config import EngineSettings
from agentkit.engine import open_engine
from agentkit.errors import EngineError, ModelError, UsageError
from agentkit.messages import user_message
from agentkit.models import resolve
from agentkit.protocols import Eye, Reply, Request
from agentkit.types import ImagePart, Task, TextPart
from agentkit_vision.contracts import Picture, Said
from agentkit_vision.pictures import to_png

__all__ = ["LlamaSpeaker"]

EMBEDDED = "sprout"
CAPTION_EMBEDDED = "describe the picture"  # what it was trained on, word for word
CAPTION = "Describe this picture in one short sentence."


class LlamaSpeaker:
    """A GGUF that sees; a `Speaker`. Close it to give its memory back."""

    def __init__(
        self,
        name: str,
        *,
        mmproj: str | None = None,
        eye: Eye | None = None,
        max_tokens: int = 64,
        context: int | None = None,
        download: bool = True,
    ) -> None:
        """Open the model.

        Args:
            name: a path, `hf:owner/repo/file.gguf`, or sprout.
            mmproj: the file that it sees with, or its hf: name; None: the one beside the model.
            eye: sees instead of an mmproj.
            max_tokens: an answer is ended after these.
            context: tokens; None: what the model was trained for, at most 8192.
            download: whether a file of the Hub that is not in the cache may be fetched.

        Raises:
            UsageError: `max_tokens` is below 1.
            ModelNotFound, ModelFileError: the model or its mmproj cannot be had or read.
            ModelError: the model does not see.
        """
        if max_tokens < 1:
            raise UsageError(f"max_tokens {max_tokens}: must be at least 1")
        settings = EngineSettings(model=name, mmproj=mmproj, context=context, offline=not download)
        self._engine = open_engine(settings, eye=eye)
        self._name, self._max_tokens, self._lock = name, max_tokens, Lock()
        known = self._engine.capabilities
        if not known.images:
            self.close()
            raise ModelError(f"{name}: sees no pictures; put its mmproj beside it, or name one, or use another model")
        self._caption = CAPTION_EMBEDDED if name == EMBEDDED else CAPTION
        seen_with = eye.fingerprint if eye is not None else _hash_of(mmproj, offline=not download)
        told = "\n".join([known.fingerprint, seen_with, self._caption, str(max_tokens)])
        self._fingerprint = hashlib.sha256(told.encode()).hexdigest()

    def close(self) -> None:
        """Give the model back; idempotent."""
        self._engine.close()

    @property
    def name(self) -> str:
        """What people call it."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """A hash of its weights, of what it sees with where that was named, and of what it is asked."""
        return self._fingerprint

    def caption(self, picture: Picture) -> Said:
        """Return one sentence about a picture, without its full stop.

        Raises:
            EngineError: the model failed.
            ContextFull: the picture does not fit.
        """
        said = self._said([picture], self._caption)
        text = " ".join(said.text.split())
        return Said(text=text.removesuffix("."), confidence=said.confidence, model=said.model)

    def ask(self, pictures: Sequence[Picture], question: str) -> Said:
        """Return the answer to a question about one picture or several.

        Raises:
            UsageError: there is no picture, or no question.
            UnsupportedPart: the model takes fewer pictures.
            ContextFull: pictures and question do not fit.
            EngineError: the model failed.
        """
        if not pictures or not question.strip():
            raise UsageError("ask: give at least one picture, and a question")
        return self._said(pictures, question.strip())

    def _said(self, pictures: Sequence[Picture], text: str) -> Said:
        """Return what the model says to a text that pictures follow."""
        shown = [ImagePart(data=to_png(picture.pixels)) for picture in pictures]
        message = user_message(Task(parts=(TextPart(text=text), *shown)))
        request = Request(messages=[message], allow=frozenset({"final"}), max_tokens=self._max_tokens, logprobs=1)
        with self._lock:
            reply = next((one for one in self._engine.stream(request) if isinstance(one, Reply)), None)
        if reply is None:
            raise EngineError(f"{self._name}: the model ended without an answer; ask again")
        chance = math.exp(sum(token.logprob for token in reply.logprobs)) if reply.logprobs else None
        return Said(text=reply.step.text.strip(), confidence=chance, model=self._name)


def _hash_of(mmproj: str | None, *, offline: bool) -> str:
    """Return the SHA-256 of an mmproj that was named."""
    path = None if mmproj is None else resolve(mmproj, offline=offline).path
    if path is None:
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

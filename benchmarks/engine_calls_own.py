"""The engine's own side of `engine_calls`: its normal loop, taught what to choose, and the same with a part taken out."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import LlamaGrammar
from numpy.typing import NDArray

from agentkit.engine.grammar import Grammars, json_rule
from agentkit.engine.llama import LlamaEngine, generate, sessions
from agentkit.engine.llama.library import C
from agentkit.engine.llama.loaded import Loaded
from agentkit.engine.llama.sessions import Text
from agentkit.engine.llama.work import Guide
from agentkit.errors import CannotEnforce
from benchmarks.engine_peers import Answer, Question, Teacher, Watch


class Ours:
    """`LlamaEngine` after a prompt that it holds; writes one call at a time, each as if it were the first."""

    def __init__(self, model: Path, *, threads: int, context: int, prompt: str) -> None:
        """Load the model and read the prompt."""
        self._engine = LlamaEngine(model, context=context, threads=threads, cache_mb=0)
        self._loaded = self._engine._loaded()
        of_model = self._loaded.model
        pieces = [b"" if of_model.is_control(n) else piece for n, piece in enumerate(of_model.pieces)]
        self._teacher = Teacher(
            pieces, lambda text: of_model.tokenise(text.decode("utf-8", "ignore")), self._loaded.dialect.end_id
        )
        self._here = self._engine.session(prompt)
        self._here.hold()
        self.forced = self.tokens = 0

    def __enter__(self) -> Ours:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def answer(self, question: Question) -> Answer:
        """Write one call as every user of the engine does."""
        try:
            compiled = self._compile(question)
        except CannotEnforce as error:
            return Answer(refused=str(error))
        answer, forced, tokens = self._write(question)
        self.forced, self.tokens = self.forced + forced, self.tokens + tokens
        return replace(answer, compile_s=compiled)

    def answer_unforced(self, question: Question) -> Answer:
        """Write it without fast-forward."""
        with _guided(lambda loaded: _Unforced(loaded.grammars.constraint(_lark(question), {}))):
            return self._write(question)[0]

    def answer_by_gbnf(self, question: Question) -> Answer:
        """Write it under llama.cpp's own grammar sampler in place of llguidance."""
        try:
            grammar = LlamaGrammar.from_json_schema(json.dumps(question.schema), verbose=False)
            Gbnf(self._loaded, grammar._grammar)
        except Exception as error:  # noqa: BLE001  counted
            return Answer(refused=f"{type(error).__name__}: {error}")
        with _guided(lambda loaded: Gbnf(loaded, grammar._grammar)):
            return self._write(question)[0]

    def _compile(self, question: Question) -> float:
        """Return how long it takes to compile a schema that was never seen, in seconds."""
        vocabulary, n_vocab = self._loaded.model.constrainer, self._loaded.model.n_vocab
        began = time.perf_counter()
        Grammars(vocabulary, n_vocab).constraint(_lark(question), {})
        return time.perf_counter() - began

    def _write(self, question: Question) -> tuple[Answer, int, int]:
        """Return the call, how many of its tokens were forced, and how many there are."""
        self._forget_calls()
        self._teacher.teach(question.target)
        how = Text(schema=question.schema, max_tokens=2 * len(question.target) + 16)
        before = self._engine.stats.decodes
        with _taught(self._teacher), Watch() as watch:
            reply = self._engine.session(question.prompt + question.message).generate(how)
        decodes = self._engine.stats.decodes - before
        answer = Answer(text=reply.step.text, seconds=watch.seconds, processor_s=watch.processor_s, decodes=decodes)
        return answer, reply.usage.forced, reply.usage.forced + reply.usage.decoded

    def _forget_calls(self) -> None:
        """Hold the prompt and nothing else, so that no call is there already."""
        prefixes, length = self._loaded.prefixes, len(self._here.tokens)
        while prefixes.held > length:
            prefixes._evict(prefixes.held - length)


class Gbnf:
    """A guide by llama.cpp's grammar sampler: it looks at the whole vocabulary for each token, and forces none."""

    is_complete, is_free = False, False

    def __init__(self, loaded: Loaded, grammar: str) -> None:
        """Parse a grammar of llama.cpp's notation.

        Raises:
            CannotEnforce: llama.cpp cannot.
        """
        model = loaded.model
        self._sampler = C.llama_sampler_init_grammar(model.vocab, grammar.encode(), b"root")
        if not self._sampler:
            raise CannotEnforce("llama.cpp cannot parse the grammar of this schema")
        kinds = [("id", np.int32), ("logit", np.float32), ("p", np.float32)]
        self._data = np.zeros(model.n_vocab, dtype=kinds)
        self._data["id"] = np.arange(model.n_vocab)
        pointer = self._data.ctypes.data_as(ctypes.POINTER(C.llama_token_data))
        self._array = C.llama_token_data_array(data=pointer, size=model.n_vocab, selected=-1, sorted=False)

    def __del__(self) -> None:
        if self._sampler:
            C.llama_sampler_free(self._sampler)

    def forced(self) -> list[int]:
        """Return nothing."""
        return []

    def mask(self) -> NDArray[np.uint8]:
        """Return 1 for each token that may come next."""
        self._data["logit"] = 0
        C.llama_sampler_apply(self._sampler, ctypes.byref(self._array))
        return np.asarray(np.isfinite(self._data["logit"]), np.uint8)

    def take(self, tokens: Sequence[int]) -> None:
        """Go on by `tokens`."""
        for token in tokens:
            C.llama_sampler_accept(self._sampler, token)


class _Unforced:
    """A guide that does not say what is forced."""

    is_free = False

    def __init__(self, guide: Guide) -> None:
        self._guide = guide

    @property
    def is_complete(self) -> bool:
        return self._guide.is_complete

    def forced(self) -> list[int]:
        return []

    def mask(self) -> NDArray[np.uint8]:
        return self._guide.mask()

    def take(self, tokens: Sequence[int]) -> None:
        self._guide.take(tokens)


def _lark(question: Question) -> str:
    return f"start: {json_rule(question.schema)}"


@contextmanager
def _taught(teacher: Teacher) -> Iterator[None]:
    """Raise the wanted token in the logits before the loop chooses; all the rest of the loop stays as it is."""
    choose = generate._Generation._choose

    def taught(self: Any, logits: Any, mask: Any) -> Any:
        teacher.raise_in(logits, teacher.place(self._ids))
        try:
            return choose(self, logits, mask)
        finally:
            teacher.restore()

    generate._Generation._choose = taught  # type: ignore[method-assign]
    try:
        yield
    finally:
        generate._Generation._choose = choose  # type: ignore[method-assign]


@contextmanager
def _guided(make: Callable[[Loaded], Guide]) -> Iterator[None]:
    """Decode under another guide than the engine's own."""
    own = sessions._guide

    def guide(loaded: Loaded, how: Text) -> Callable[[], Guide]:
        return lambda: make(loaded)

    sessions._guide = guide
    try:
        yield
    finally:
        sessions._guide = own

"""Sequences as handles that cost nothing: a place in a text, from which to go on in any way, any number of times.

A handle is the tokens up to its place. Forking, appending and rolling back change only those; what the model has read
is found again by the radix tree, whoever read it. So handles need not be closed, can outlive what they were made from,
and thousands of them are fine.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np

from agentkit.engine.grammar import json_rule
from agentkit.engine.llama.generate import branch, generate
from agentkit.engine.llama.jobs import Job, aresults, results
from agentkit.engine.llama.loaded import Loaded
from agentkit.engine.llama.schedule import Open, Plan, Read
from agentkit.engine.llama.scoring import Scoring, score
from agentkit.engine.llama.work import Free, Guide, TextReader, Work
from agentkit.errors import CannotEnforce, EngineError, UsageError
from agentkit.protocols import CancelFlag, Delta, Reply, Sampling, Score
from agentkit.types import JsonSchema

__all__ = ["Choice", "Session", "Text"]

_HALF_PAIR = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """How a text is to be written: under at most one of `lark`, `schema` and `regex`, and when to stop."""

    lark: str | None = None  # a grammar of llguidance's Lark, with a rule `start`
    schema: JsonSchema | None = None
    regex: str | None = None  # of the whole text
    stop: tuple[str, ...] = ()  # not part of the text
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 1024
    logprobs: int = 0
    deadline: float | None = None  # `time.monotonic()` seconds
    cancel: CancelFlag | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of the options is most probable, and the probability of each among them; they sum to 1."""

    index: int
    probabilities: tuple[float, ...]


class Session:
    """A place in a text. Not thread-safe itself; any number of them are, on one engine."""

    def __init__(self, loaded: Loaded, tokens: Sequence[int], adapter: str | None = None) -> None:
        """Use `LlamaEngine.session`."""
        self._loaded, self._adapter = loaded, adapter
        self._adapters = loaded.adapters.of(adapter)
        self._pinned: tuple[int, ...] | None = None
        self.tokens: tuple[int, ...] = tuple(tokens)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def text(self) -> str:
        """The text up to here."""
        return self._loaded.model.bytes_of(self.tokens).decode("utf-8", "replace")

    def fork(self, k: int = 1) -> list[Session]:
        """Return `k` handles at the same place."""
        return [Session(self._loaded, self.tokens, self._adapter) for _ in range(k)]

    def append(self, more: str | Sequence[int]) -> None:
        """Go on by a text, in which no control token can come to be, or by tokens; nothing is read yet."""
        model = self._loaded.model
        with self._loaded.in_use():
            tokens = model.tokenise(more) if isinstance(more, str) else list(more)
        if not model.knows(tokens):
            raise UsageError(f"a token is not in the vocabulary of {model.name}, which has {model.n_vocab}")
        self.tokens += tuple(tokens)

    def rollback(self, n: int) -> None:
        """Go back by `n` tokens.

        Raises:
            UsageError: there are not so many.
        """
        if not 0 <= n <= len(self.tokens):
            raise UsageError(f"rollback by {n} tokens, and there are {len(self.tokens)}")
        self.tokens = self.tokens[: len(self.tokens) - n]

    def hold(self, *, deadline: float | None = None, cancel: CancelFlag | None = None) -> None:
        """Read up to here now, and protect it from making room for others until `close`."""
        self._run(Job(deadline, cancel), self._holding())

    def close(self) -> None:
        """Protect it no longer; idempotent. What was read stays until its room is needed."""
        if self._pinned is not None:
            with suppress(EngineError):  # the engine is closed: there is nothing to protect
                self._run(Job(None, None), self._letting_go(self._pinned))
            self._pinned = None

    def stream(self, how: Text = Text()) -> Iterator[Delta]:
        """Yield the text that follows as it comes, then a `Reply` with all of it; the place does not move."""
        job = Job(how.deadline, how.cancel)
        yield from results(self._loaded.scheduler, job, generate(self._work(how, job)))

    async def astream(self, how: Text = Text()) -> AsyncIterator[Delta]:
        """Do as `stream` does, for `async for`."""
        job = Job(how.deadline, how.cancel)
        async for delta in aresults(self._loaded.scheduler, job, generate(self._work(how, job))):
            yield delta

    def generate(self, how: Text = Text()) -> Reply:
        """Return the text that follows: `reply.step.text`; `append(reply.step.token_ids)` moves on to its end."""
        return cast("Reply", self._run(Job(how.deadline, how.cancel), generate(self._work(how, None))))

    def branch(self, k: int, how: Text = Text()) -> list[Reply]:
        """Return up to `k` distinct texts that may follow, most probable first."""
        job = Job(how.deadline, how.cancel)
        return cast("list[Reply]", self._run(job, branch(self._work(how, None), k)))

    def score(
        self,
        candidates: Sequence[str | Sequence[int]],
        *,
        mode: Literal["full", "constrained"] = "full",
        normalize: Literal["sum", "mean"] = "sum",
        deadline: float | None = None,
        cancel: CancelFlag | None = None,
    ) -> list[Score]:
        """Return how probable each candidate is right here; see `scoring` for what the two modes mean.

        `mean` divides by the number of tokens. `deadline` is in seconds of `time.monotonic()`.
        """
        scores = self._run(Job(deadline, cancel), self._scoring(candidates, mode))
        if normalize == "sum":
            return cast("list[Score]", scores)
        return [Score(logprob=one.logprob / one.tokens, tokens=one.tokens) for one in scores]

    def choose(
        self,
        options: Sequence[str | Sequence[int]],
        *,
        deadline: float | None = None,
        cancel: CancelFlag | None = None,
    ) -> Choice:
        """Return the most probable option, by constrained scores: only where the options part is the model asked."""
        if not len(options):
            raise UsageError("there are no options to choose from; give one at least")
        scores = self._run(Job(deadline, cancel), self._scoring(options, "constrained"))
        chances = np.exp([one.logprob for one in scores])
        return Choice(index=int(np.argmax(chances)), probabilities=tuple(float(chance) for chance in chances))

    def _work(self, how: Text, job: Job | None) -> Work:
        loaded = self._loaded
        loaded.check_prompt(self.tokens)
        with loaded.in_use():
            guide = _guide(loaded, how)
        return Work(
            prompt=self.tokens,
            context=loaded.context,
            prefixes=loaded.prefixes,
            guide=guide,
            drafting=loaded.drafting,
            reader=lambda: TextReader(loaded.model.pieces, loaded.ends, how.stop),
            ends=loaded.ends,
            end_id=loaded.dialect.end_id,
            adapters=self._adapters,
            sampling=how.sampling,
            max_tokens=how.max_tokens,
            logprobs=how.logprobs,
            emit=_nowhere if job is None else lambda delta: job.put(delta),
        )

    def _scoring(self, candidates: Sequence[str | Sequence[int]], mode: Literal["full", "constrained"]) -> Plan:
        loaded = self._loaded
        loaded.check_prompt(self.tokens)
        with loaded.in_use():
            tokens = [loaded.model.tokenise(one) if isinstance(one, str) else list(one) for one in candidates]
        if not all(loaded.model.knows(one) for one in tokens):
            raise UsageError(f"a candidate has a token that is not in the vocabulary of {loaded.model.name}")
        return score(
            Scoring(
                prompt=self.tokens,
                candidates=tokens,
                context=loaded.context,
                prefixes=loaded.prefixes,
                mode=mode,
                adapters=self._adapters,
            )
        )

    def _holding(self) -> Plan:
        loaded, tokens = self._loaded, self.tokens
        loaded.check_prompt(tokens)
        opened = yield Open(tokens, self._adapters)
        rows = {}
        try:
            if opened.row is None:
                known = min(opened.length, len(tokens) - 1)
                known = loaded.context.keep_first(opened.sequence, known)
                (row,) = yield Read(opened.sequence, tokens[known:], [len(tokens) - known - 1])
                rows[len(tokens)] = row.copy()
        finally:
            loaded.prefixes.close(opened.sequence, tokens, self._adapters, rows)
        if self._pinned is not None:
            loaded.prefixes.pin(self._pinned, self._adapters, on=False)
        self._pinned = tokens if loaded.prefixes.pin(tokens, self._adapters) else None

    def _letting_go(self, tokens: tuple[int, ...]) -> Plan:
        self._loaded.prefixes.pin(tokens, self._adapters, on=False)
        return
        yield

    def _run(self, job: Job, plan: Plan) -> Any:
        with self._loaded.in_use():
            (found,) = results(self._loaded.scheduler, job, plan)
        return found


def _guide(loaded: Loaded, how: Text) -> Any:
    """Return what makes the guide of a text."""
    told = [name for name in ("lark", "schema", "regex") if getattr(how, name) is not None]
    if len(told) > 1:
        raise UsageError(f"{' and '.join(told)} were given; a text has one grammar")
    if _HALF_PAIR.search((how.lark or "") + (how.regex or "")):
        raise CannotEnforce("the grammar holds half of a surrogate pair, which no text can; take it out")
    if not told:
        return lambda: cast("Guide", Free(loaded.text_mask))
    lark = f"start: TEXT\nTEXT: {_pattern(how.regex)}" if how.lark is None else how.lark
    if how.schema is not None:
        lark = f"start: {json_rule(how.schema)}"
    schemas = {"the schema": how.schema} if how.schema is not None else {}
    loaded.grammars.constraint(lark, schemas)  # refused here, where the caller is
    return lambda: loaded.grammars.constraint(lark, schemas)


def _pattern(regex: str | None) -> str:
    """Return `regex` between slashes; those inside are escaped, where they are not yet."""
    return "/" + re.sub(r"(\\.)|/", lambda found: found[1] or "\\/", regex or "", flags=re.DOTALL) + "/"


def _nowhere(_: Delta) -> None:
    """Drop a delta."""

"""The token loop: one step of the model under its grammar, and the search for several distinct ones.

Tokens that the grammar leaves no choice about are taken without a forward pass and read together with the
next one that has a choice; those at the end ride with the next prompt. Cancel and deadline are looked
at before each token, and inside a batch by the abort flag.
"""

from __future__ import annotations

import heapq
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agentkit.engine.dialects import Dialect
from agentkit.engine.grammar import Grammars
from agentkit.engine.llama.context import Context, Logits
from agentkit.engine.llama.sampler import Sampler, log_softmax, token_logprob
from agentkit.errors import ContextFull, UsageError
from agentkit.protocols import Delta, Reply, Request, Score, TokenLogprob
from agentkit.types import Step, Usage

__all__ = ["Ticket", "Work", "branch", "generate", "score"]


class Ticket(Protocol):
    """Permission to go on."""

    def check(self) -> None:
        """Raise Cancelled or DeadlineExceeded if the work must stop."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One request, ready to be worked on by the thread that owns `context`."""

    request: Request
    prompt: list[int]
    context: Context
    dialect: Dialect
    grammars: Grammars
    ends: frozenset[int]  # tokens that end a step
    ticket: Ticket
    emit: Callable[[Delta], None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """One token of the reply; without a log-probability it was forced."""

    token: int
    logprob: TokenLogprob | None = None
    chance: float = 0.0  # log-probability among the tokens allowed, prior included


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turning:
    """A beginning of a step that has not been followed yet."""

    taken: tuple[_Taken, ...]
    is_choice: bool  # it turns at the kind of step or at the first call's tool
    chance: float
    tool_logprobs: dict[str, float]


def generate(work: Work) -> Reply:
    """Return the model's step; deltas are emitted on the way."""
    return _Generation(work).run()


def branch(work: Work, n: int) -> list[Reply]:
    """Return up to `n` distinct steps, most probable first.

    The first is what `generate` gives. Each further one leaves an earlier one at its most probable turning,
    first where another kind of step or another tool begins, then at any other token, and goes on from there.
    """
    if n < 1:
        raise UsageError(f"branch: asked for {n} steps; 1 or more")
    found: dict[str, tuple[float, Reply]] = {}
    turnings: list[tuple[tuple[bool, float, int], _Turning]] = []
    order = itertools.count()
    tried, start = 0, _Turning(taken=(), is_choice=True, chance=0.0, tool_logprobs={})
    while True:
        one = _Generation(work, start=start, keep_turnings=n)
        reply = one.run()
        found.setdefault(_key(reply.step), (one.chance, reply))
        tried += 1
        for turning in one.turnings:
            heapq.heappush(turnings, ((not turning.is_choice, -turning.chance, next(order)), turning))
        if len(found) >= n or not turnings or tried >= 4 * n:
            return [reply for _, reply in sorted(found.values(), key=lambda item: -item[0])]
        start = heapq.heappop(turnings)[1]


def score(work: Work, candidates: Sequence[Step]) -> list[Score]:
    """Return the sum of the log-probabilities of each candidate's tokens, its end included, after the prompt.

    The model's own probabilities: neither the grammar nor the prior touches them. The prompt is read once.
    """
    context, prompt, scores = work.context, work.prompt, []
    after_prompt: Logits | None = None
    for step in candidates:
        work.ticket.check()
        tokens = work.dialect.step(step, work.request)
        if after_prompt is None:
            after_prompt = context.read(prompt[context.rewind(prompt[:-1]) :]).copy()
        kept = context.rewind(prompt)
        if kept < len(prompt):  # a model that cannot forget a part
            context.read(prompt[kept:])
        rows = [after_prompt, *context.read_all_rows(tokens[:-1])]
        logprob = sum(float(log_softmax(row)[token]) for row, token in zip(rows, tokens, strict=True))
        scores.append(Score(logprob=logprob, tokens=len(tokens)))
    return scores


class _Generation:
    """One run of the loop."""

    def __init__(self, work: Work, *, start: _Turning | None = None, keep_turnings: int = 0) -> None:
        self._work, self._context, request = work, work.context, work.request
        self._began = time.monotonic()
        self._sampler = Sampler(request.sampling)
        self._constraint = work.grammars.constraint(work.dialect.grammar(request), work.dialect.schemas(request))
        self._reader = work.dialect.reader(request)
        if request.max_tokens < 1:
            raise UsageError(f"max_tokens is {request.max_tokens}; 1 or more")
        self._room = min(request.max_tokens, work.context.size - len(work.prompt))
        if self._room < 1:
            raise ContextFull(
                f"the prompt has {len(work.prompt)} tokens, the context {work.context.size}: no room for a reply; "
                "shorten the conversation, or set engine.context higher"
            )
        self._start, self._keep_turnings = start, keep_turnings
        self._taken: list[_Taken] = []
        self._ids: list[int] = []
        self._pending: list[int] = []
        self._tool_logprobs = dict(start.tool_logprobs) if start else {}
        self._ended = False
        self.turnings: list[_Turning] = []

    @property
    def chance(self) -> float:
        """The step's log-probability among the steps that the grammar allows."""
        return sum(taken.chance for taken in self._taken)

    def run(self) -> Reply:
        """Decode until the step is whole or there is no more room."""
        beginning = self._start.taken if self._start else ()
        whole = [*self._work.prompt, *(taken.token for taken in beginning)]
        kept = self._context.rewind(whole[:-1])
        self._pending = self._work.prompt[kept:]
        for taken in beginning:
            self._take(taken)
        del self._pending[: max(0, kept - len(self._work.prompt))]
        while not self._ended and len(self._ids) < self._room:
            self._work.ticket.check()
            self._advance()
        return self._reply(reused=min(kept, len(self._work.prompt)))

    def _advance(self) -> None:
        """Take the tokens that are forced, or else choose one."""
        if self._constraint.is_complete:
            self._take(_Taken(token=self._work.dialect.end_id))
            return
        forced = self._constraint.forced()
        if not forced:
            mask = self._constraint.mask()
            if np.count_nonzero(mask) == 1:
                forced = [int(mask.argmax())]
        for token in forced[: self._room - len(self._ids)]:
            self._take(_Taken(token=token))
        if not forced:
            logits = self._context.read(self._pending)
            self._pending = []
            self._take(self._choose(logits, mask))

    def _take(self, taken: _Taken) -> None:
        self._taken.append(taken)
        self._ids.append(taken.token)
        self._pending.append(taken.token)
        self._ended = taken.token in self._work.ends
        if not self._constraint.is_complete:
            self._constraint.take([taken.token])
        for delta in self._reader.feed(taken.token):
            self._work.emit(delta)

    def _choose(self, logits: Logits, mask: NDArray[np.uint8]) -> _Taken:
        best = int(logits.argmax())
        if mask[best] and self._sampler.is_argmax and not self._keep_turnings and not self._reader.tools_ahead([best]):
            return self._taken_at(logits, best)  # at a big vocabulary most of the time is saved here
        allowed = np.flatnonzero(mask)
        values = self._sampler.weights(logits, allowed, self._ids)
        values = values + self._prior(logits, allowed)
        index = self._sampler.draw(values)
        chances = log_softmax(values) if self._keep_turnings else None
        if chances is None:
            return self._taken_at(logits, int(allowed[index]))
        self._keep_others(logits, allowed, chances, index)
        return self._taken_at(logits, int(allowed[index]), float(chances[index]))

    def _prior(self, logits: Logits, allowed: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return what the prior adds to each of `allowed`; notes the model's own opinion where a tool is chosen.

        A name of several tokens gets its prior in parts: a token is worth the best name it still leads to.
        """
        ahead = self._reader.tools_ahead(map(int, allowed))
        if not ahead:
            return np.zeros(len(allowed), np.float32)
        if not self._tool_logprobs and all(len(names) == 1 for names in ahead.values()):
            for (name,), own in zip(ahead.values(), log_softmax(logits[allowed]), strict=True):
                before = self._tool_logprobs.get(name, -np.inf)
                self._tool_logprobs[name] = float(np.logaddexp(before, own))
        prior = self._work.request.tool_prior
        return np.asarray([max(prior.get(name, 0.0) for name in names) for names in ahead.values()], np.float32)

    def _taken_at(self, logits: Logits, token: int, chance: float | None = None) -> _Taken:
        alternatives = self._work.request.logprobs
        if alternatives or chance is not None:
            return _Taken(token=token, logprob=token_logprob(logits, token, alternatives), chance=chance or 0.0)
        return _Taken(token=token, logprob=TokenLogprob(token=token, logprob=0.0))

    def _keep_others(
        self, logits: Logits, allowed: NDArray[np.intp], chances: NDArray[np.float64], chosen: int
    ) -> None:
        """Remember the best turnings that were not taken here."""
        before, choices = self.chance, self._work.dialect.choices
        is_choice = choices.issuperset(self._ids) and choices.issuperset(map(int, allowed[: len(choices) + 1]))
        for index in np.argsort(-chances, kind="stable")[: self._keep_turnings + 1]:
            if index != chosen:
                other = self._taken_at(logits, int(allowed[index]), float(chances[index]))
                self.turnings.append(
                    _Turning(
                        taken=(*self._taken, other),
                        is_choice=is_choice,
                        chance=before + float(chances[index]),
                        tool_logprobs=dict(self._tool_logprobs),
                    )
                )

    def _reply(self, *, reused: int) -> Reply:
        step = self._reader.finish(whole=self._ended)
        if self._ended and self._work.request.output is not None and step.kind == "final":
            step = replace(step, data=json.loads(step.text))
        if step.calls and not self._tool_logprobs and len(self._work.request.tools) == 1:
            self._tool_logprobs = {step.calls[0].tool: 0.0}
        sampled = [taken.logprob for taken in self._taken if taken.logprob is not None]
        return Reply(
            step=step,
            usage=Usage(
                prompt=len(self._work.prompt),
                reused=reused,
                forced=len(self._taken) - len(sampled),
                decoded=len(sampled),
                seconds=time.monotonic() - self._began,
            ),
            finish="stop" if self._ended else "length",
            assurance="enforced" if self._ended else "none",
            logprobs=tuple(sampled) if self._work.request.logprobs or self._keep_turnings else (),
            tool_logprobs=self._tool_logprobs,
        )


def _key(step: Step) -> str:
    calls = [(call.tool, dict(call.arguments)) for call in step.calls]
    return json.dumps([step.kind, step.text, calls], ensure_ascii=False)

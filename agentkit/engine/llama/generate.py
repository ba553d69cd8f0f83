"""The token loop: one reply under its grammar, and the search for several distinct ones.

Tokens that the grammar leaves no choice about are taken without a forward pass and read together with the
next one that has a choice; those at the end ride with the next prompt. Where it pays, a guess of what follows is read
with them (see `drafts`). All of this is written as plans (see `schedule`):
they yield what they want of the context, and many of them share each batch.
"""

from __future__ import annotations

import heapq
import itertools
import json
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentkit.engine.llama.context import Logits
from agentkit.engine.llama.drafts import Lookup
from agentkit.engine.llama.sampler import Sampler, log_softmax, token_logprob
from agentkit.engine.llama.schedule import Open, Plan, Read, Spawn
from agentkit.engine.llama.work import Work
from agentkit.errors import UsageError
from agentkit.protocols import Reply, TokenLogprob
from agentkit.types import Step, Usage

__all__ = ["branch", "generate"]

BRANCH_TOKENS, BRANCH_TIMES = 128, 4


class _Taken(NamedTuple):
    """One token of the reply."""

    token: int
    is_forced: bool = False
    logprob: TokenLogprob | None = None  # where it was asked for
    chance: float = 0.0  # log-probability among the tokens allowed, prior included


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turning:
    """A beginning of a step that has not been followed yet."""

    taken: tuple[_Taken, ...]
    is_choice: bool  # it turns at the kind of step or at the first call's tool
    chance: float
    tool_logprobs: dict[str, float]


def generate(work: Work) -> Plan:
    """Return the model's reply; deltas are emitted on the way."""
    reply = yield from _Generation(work).run()
    return reply


def branch(work: Work, n: int) -> Plan:
    """Return up to `n` distinct replies, most probable first.

    The first is what `generate` gives. Each further one leaves an earlier one at one of its most probable turnings,
    first where another kind of step or another tool begins, then at any other token, and goes on from there; as many
    as are still wanted are followed side by side. Further ones end at `BRANCH_TOKENS`, or where they are `BRANCH_TIMES`
    as long as the first: what the model would not say by itself often goes on without end.
    """
    if n < 1:
        raise UsageError(f"branch: asked for {n} steps; 1 or more")
    found: dict[str, tuple[float, Reply]] = {}
    turnings: list[tuple[tuple[bool, float, int], _Turning]] = []
    order = itertools.count()
    tried = 0
    starts = [_Turning(taken=(), is_choice=True, chance=0.0, tool_logprobs={})]
    while starts:
        runs = [_Generation(work, start=start, keep_turnings=n) for start in starts]
        replies = yield Spawn([run.run() for run in runs])
        for run, reply in zip(runs, replies, strict=True):
            found.setdefault(_key(reply.step), (run.chance, reply))
            for turning in run.turnings:
                heapq.heappush(turnings, ((not turning.is_choice, -turning.chance, next(order)), turning))
        if not tried:
            room = max(BRANCH_TOKENS, BRANCH_TIMES * len(runs[0].ids))
            work = replace(work, max_tokens=min(work.max_tokens, room))
        tried += len(runs)
        more = min(n - len(found), 4 * n - tried, len(turnings))
        starts = [heapq.heappop(turnings)[1] for _ in range(more)]
    return [reply for _, reply in sorted(found.values(), key=lambda item: -item[0])]


class _Generation:
    """One run of the loop."""

    def __init__(self, work: Work, *, start: _Turning | None = None, keep_turnings: int = 0) -> None:
        if work.max_tokens < 1:
            raise UsageError(f"max_tokens is {work.max_tokens}; 1 or more")
        if work.logprobs < 0:
            raise UsageError(f"logprobs is {work.logprobs}; 0 or more")
        self._work, self._room = work, work.room()
        self._began = time.monotonic()
        self._sampler = Sampler(work.sampling)
        self._guide, self._reader = work.guide(), work.reader()
        self._start, self._keep_turnings = start, keep_turnings
        self._taken: list[_Taken] = []
        self._ids: list[int] = []
        self._sequence = -1
        self._held: list[int] = []  # what the sequence holds, and then what it is to read next
        self._row: Logits | None = None  # after all of `_held`, where it is known
        self._lookup: Lookup | None = None
        self._draft: deque[tuple[int, Logits]] = deque()  # read beyond `_held`, each with the logits after it
        self._rows: dict[int, Logits] = {}  # to be kept for others, by how many tokens they come after
        self._mask = np.empty(0, np.uint8)  # of the place where nothing is forced
        self._tool_logprobs = dict(start.tool_logprobs) if start else {}
        self._ended = False
        self.turnings: list[_Turning] = []

    @property
    def ids(self) -> list[int]:
        """The step's tokens so far."""
        return self._ids

    @property
    def chance(self) -> float:
        """The step's log-probability among the steps that the grammar allows."""
        return sum(taken.chance for taken in self._taken)

    def run(self) -> Plan:
        """Decode until the step is whole or there is no more room."""
        work, beginning = self._work, self._start.taken if self._start else ()
        self._held = [*work.prompt, *(taken.token for taken in beginning)]
        for taken in beginning:
            self._take(taken, is_held=True)
        while self._goes_on and self._take_forced():
            pass
        if not self._goes_on:
            return self._reply(reused=0)  # nothing had to be read
        opened = yield Open(self._held, work.adapters)
        self._sequence, self._row = opened.sequence, opened.row
        if self._guide.is_free and self._sampler.is_greedy and work.context.can_cut and work.drafting.is_on:
            self._lookup = Lookup(self._held)
        try:
            while self._goes_on:
                if not self._take_forced():
                    row = yield from self._logits()
                    taken = self._choose(row, self._mask)
                    if self._lookup is not None and self._lookup.match:
                        work.drafting.odds.note(self._lookup.match, self._lookup.ahead(1) == [taken.token])
                    self._take(taken)
        finally:
            if self._draft:
                work.context.keep_first(self._sequence, len(self._held))
            work.prefixes.close(self._sequence, self._held, work.adapters, self._rows)
        return self._reply(reused=min(opened.length, len(work.prompt)))

    @property
    def _goes_on(self) -> bool:
        return not self._ended and len(self._ids) < self._room

    def _take_forced(self) -> bool:
        """Take the tokens that leave no choice; whether there were any."""
        if self._guide.is_complete:
            self._take(_Taken(self._work.end_id, is_forced=True))
            return True
        forced = self._guide.forced()
        if not forced:
            self._mask = self._guide.mask()
        for token in forced[: self._room - len(self._ids)]:
            if not self._ended:  # by a stop string among them
                self._take(_Taken(token, is_forced=True))
        return bool(forced)

    def _logits(self) -> Generator[Any, Any, Logits]:
        """Read what is not read yet; return the logits after it."""
        if self._row is not None:
            return self._row
        context = self._work.context
        known = context.length(self._sequence)
        if known == len(self._held):  # all of it is held, but what came after it was not kept
            known = context.keep_first(self._sequence, known - 1)
        wanted = self._held[known:]
        draft = self._guess(len(wanted))
        last = len(wanted) - 1
        self._row, *ahead = yield Read(self._sequence, wanted + draft, rows=range(last, last + 1 + len(draft)))
        self._draft.extend(zip(draft, ahead, strict=True))
        if not self._rows:
            self._rows[len(self._held)] = self._row.copy()
        return self._row

    def _guess(self, waiting: int) -> list[int]:
        """Return what to read beyond the `waiting` tokens, if anything."""
        if self._lookup is None or not self._lookup.match:
            return []
        drafting, room = self._work.drafting, self._room - len(self._ids)
        draft = self._lookup.ahead(drafting.length(self._lookup.match, waiting, room))
        draft = list(itertools.takewhile(lambda token: token < self._work.context.vocabulary, draft))
        drafting.drafted += len(draft)
        return draft

    def _follow(self, token: int) -> Logits | None:
        """Return the logits after `token` where it is what was guessed; else what was read ahead is forgotten."""
        guess, row = self._draft.popleft()
        if guess == token:
            self._work.drafting.accepted += 1
            return row
        self._draft.clear()
        self._work.context.keep_first(self._sequence, len(self._held) - 1)
        return None

    def _take(self, taken: _Taken, *, is_held: bool = False) -> None:
        self._taken.append(taken)
        self._ids.append(taken.token)
        if not is_held:
            self._held.append(taken.token)
            self._row = self._follow(taken.token) if self._draft else None
            if self._lookup is not None:
                self._lookup.append(taken.token)
        self._ended = taken.token in self._work.ends
        if not self._guide.is_complete:
            self._guide.take([taken.token])
        for delta in self._reader.feed(taken.token):
            self._work.emit(delta)
        self._ended = self._ended or self._reader.is_done

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
        prior = self._work.tool_prior
        return np.asarray([max(prior.get(name, 0.0) for name in names) for names in ahead.values()], np.float32)

    def _taken_at(self, logits: Logits, token: int, chance: float | None = None) -> _Taken:
        alternatives = self._work.logprobs
        if alternatives or chance is not None:
            return _Taken(token, logprob=token_logprob(logits, token, alternatives), chance=chance or 0.0)
        return _Taken(token)

    def _keep_others(
        self, logits: Logits, allowed: NDArray[np.intp], chances: NDArray[np.float64], chosen: int
    ) -> None:
        """Remember the best turnings that were not taken here."""
        before, choices = self.chance, self._work.choices
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
        work = self._work
        step = self._reader.finish(whole=self._ended)
        if self._ended and work.has_output and step.kind == "final":
            step = replace(step, data=json.loads(step.text))
        if step.calls and not self._tool_logprobs and work.only_tool:
            self._tool_logprobs = {step.calls[0].tool: 0.0}
        forced = sum(taken.is_forced for taken in self._taken)
        grounds = work.grounds() if step.calls else {}
        return Reply(
            step=step,
            usage=Usage(
                prompt=len(work.prompt),
                reused=reused,
                forced=forced,
                decoded=len(self._taken) - forced,
                seconds=time.monotonic() - self._began,
            ),
            finish="stop" if self._ended else "length",
            assurance="enforced" if self._ended else "none",
            logprobs=tuple(taken.logprob for taken in self._taken if taken.logprob is not None),
            tool_logprobs=self._tool_logprobs,
            grounds={tool: about for tool, about in grounds.items() if any(call.tool == tool for call in step.calls)},
        )


def _key(step: Step) -> str:
    calls = [(call.tool, dict(call.arguments)) for call in step.calls]
    return json.dumps([step.kind, step.text, calls], ensure_ascii=False)

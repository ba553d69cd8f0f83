"""How probable candidates are: the tokens they share are read once, as a trie, and what differs side by side.

Two answers that are not the same. **Full**: the model's own log-probability of all of a candidate's tokens, log P(c | prompt)
= sum of log P(token | what comes before it). **Constrained**: at each place where candidates part, the log-probability of
the way taken among the ways there are, so that those of all candidates sum to 1; what does not part is not asked, and
what comes after the last parting is not read. It is what a grammar that allows only the candidates would draw from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from agentkit.engine.llama.adapters import AdapterSet
from agentkit.engine.llama.context import Context, Logits
from agentkit.engine.llama.prefixes import Prefixes
from agentkit.engine.llama.schedule import Open, Plan, Read, Spawn
from agentkit.errors import ContextFull, UsageError
from agentkit.protocols import Score

__all__ = ["Scoring", "score"]

Mode = Literal["full", "constrained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """What is to be scored, after what."""

    prompt: Sequence[int]
    candidates: Sequence[Sequence[int]]
    context: Context
    prefixes: Prefixes
    mode: Mode = "full"
    adapters: AdapterSet = ()


@dataclass(slots=True)
class _Node:
    """A run of tokens without a parting, what comes after it, and which candidates end with it."""

    tokens: list[int]
    children: list[_Node] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    first: int = 0  # of the candidates that it belongs to


def score(asked: Scoring) -> Plan:
    """Return a `Score` for each candidate, in their order.

    Raises:
        UsageError: a candidate has no tokens; or, constrained, one is the beginning of another.
        ContextFull: one does not fit.
    """
    if not all(asked.candidates):
        raise UsageError("a candidate has no tokens; give texts that are not empty")
    if len(asked.prompt) + max(map(len, asked.candidates), default=0) > asked.context.size:
        raise ContextFull(f"the longest candidate does not fit into a context of {asked.context.size} tokens")
    root = _Node([], *_grouped(asked.candidates, range(len(asked.candidates)), 0))
    found, read = [0.0] * len(asked.candidates), [0] * len(asked.candidates)
    if asked.mode == "constrained":
        _refuse_beginnings(root)
    yield from _walk(asked, root, list(asked.prompt), 0.0, found, read)
    if asked.mode == "constrained":  # the same option several times: its share is divided, so that all sum to 1
        times = Counter(map(tuple, asked.candidates))
        found = [one - math.log(times[tuple(tokens)]) for one, tokens in zip(found, asked.candidates, strict=True)]
    return [Score(logprob=found[n], tokens=len(one), read=read[n]) for n, one in enumerate(asked.candidates)]


def _walk(asked: Scoring, node: _Node, before: list[int], logprob: float, found: list[float], read: list[int]) -> Plan:
    """Read a node's tokens after `before`, whose first is already counted in `logprob`, then its children.

    What was found out goes into `found` and `read`, by candidate.
    """
    path = [*before, *node.tokens]
    inner = 0.0
    firsts: list[float] = []

    def use(index: int, row: Logits) -> None:
        """Note what the logits after token `index` of the path say."""
        nonlocal inner, firsts
        if index < len(path) - 1:
            inner += float(log_probabilities(row, path[index + 1 : index + 2])[0])
            return
        nexts = [child.tokens[0] for child in node.children]
        firsts = list(log_probabilities(row, nexts, among=asked.mode == "constrained"))

    start = len(before)  # the first token whose following row is wanted, where all rows are
    rows = [*range(start, len(path) - 1)] if asked.mode == "full" else []
    if (asked.mode == "full" and node.children) or len(node.children) > 1:
        rows.append(len(path) - 1)
    if rows:
        read[node.first] += yield from _read(asked, path, rows, use, keep=bool(node.children))
    logprob += inner
    for end in node.ends:
        found[end] = logprob
    firsts = firsts or [0.0] * len(node.children)
    steps = [(child, logprob + float(first)) for child, first in zip(node.children, firsts, strict=True)]
    if len(steps) == 1:
        yield from _walk(asked, steps[0][0], path, steps[0][1], found, read)
    elif steps:
        yield Spawn([_walk(asked, child, path, total, found, read) for child, total in steps])


def _read(asked: Scoring, path: list[int], rows: list[int], use: Callable[[int, Logits], None], *, keep: bool) -> Plan:
    """Read `path` up to the last of `rows`, and have `use` see the logits after each; `keep` the last for others.

    Returns how many tokens had to be read.
    """
    path = path[: rows[-1] + 1]
    opened = yield Open(path, asked.adapters)
    kept: dict[int, Logits] = {}

    def see(index: int, row: Logits) -> None:
        if keep and known + index == len(path) - 1:
            kept[len(path)] = row.copy()
        use(known + index, row)

    try:
        known = opened.length
        if opened.row is not None and rows == [len(path) - 1]:
            use(rows[0], opened.row)
            return 0
        if known > rows[0]:
            known = asked.context.keep_first(opened.sequence, rows[0])
        yield Read(opened.sequence, path[known:], [row - known for row in rows], see)
        return len(path) - known
    finally:
        asked.prefixes.close(opened.sequence, path, asked.adapters, kept)


def log_probabilities(row: Logits, tokens: Sequence[int], *, among: bool = False) -> np.ndarray:
    """Return the log-probabilities of `tokens` in nats, over all tokens or only among these."""
    wanted = row[list(tokens)].astype(np.float64)
    over = wanted if among else row
    top = float(over.max())
    return np.asarray(wanted - top - np.log(float(np.exp(over - top, dtype=np.float32).sum(dtype=np.float64))))


def _grouped(candidates: Sequence[Sequence[int]], which: Sequence[int], at: int) -> tuple[list[_Node], list[int]]:
    """Return the nodes that candidates `which` go on with from token `at`, and those of them that end there."""
    ends = [n for n in which if len(candidates[n]) == at]
    firsts: dict[int, list[int]] = {}
    for n in which:
        if len(candidates[n]) > at:
            firsts.setdefault(candidates[n][at], []).append(n)
    nodes = []
    for group in firsts.values():
        end = at + 1
        while len(nexts := {tuple(candidates[n][end : end + 1]) for n in group}) == 1 and () not in nexts:
            end += 1
        nodes.append(_Node(list(candidates[group[0]][at:end]), *_grouped(candidates, group, end), first=group[0]))
    return nodes, ends


def _refuse_beginnings(node: _Node) -> None:
    if node.ends and node.children:
        raise UsageError(
            "one option is the beginning of another; let each end with the same mark, such as a line's end"
        )
    for child in node.children:
        _refuse_beginnings(child)

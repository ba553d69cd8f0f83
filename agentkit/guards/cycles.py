"""A short sequence of calls, with the same outcomes, gone through again and again.

Sees periods of 2 to 8 calls; one call alone is repeats.py. A round in which an argument or an outcome
differs is not the same round: edit-and-test with new edits is work. A round of polls alone is waiting.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.guards.finding import Finding, classes, places
from agentkit.protocols import HistoryItem

LONGEST = 8
NUDGE_AT, BLOCK_AT = 3, 4  # rounds


def cycles(items: Sequence[HistoryItem]) -> Finding | None:
    """Find the shortest cycle that the calls end with: worth a word after three rounds, blocked after four."""
    where = places(items)[-LONGEST * (BLOCK_AT + 1) :]
    calls = [items[n] for n in where]
    symbols = [(item.key, item.outcome_key) for item in calls]
    for period in range(2, LONGEST + 1):
        laps = _laps(symbols, period)
        if laps < NUDGE_AT or all(item.polls for item in calls[-period:]) or len(set(symbols[-period:])) == 1:
            continue
        names = ", ".join(item.call.tool for item in calls[-period:] if item.call is not None)
        round_ = classes(calls[-period:])
        return Finding(
            detector="cycles",
            count=laps,
            nudge_at=NUDGE_AT,
            block_at=BLOCK_AT,
            start=where[-period * laps],
            episode=f"cycles {' '.join(sorted(round_))}",
            what=f"the same {period} calls ({names}) were made {laps} times with the same results",
            advice="Use those results to answer, or do something else.",
            lingers=True,
            calls=tuple(item.key for item in calls[-period:] if not item.polls),
        )
    return None


def _laps(symbols: Sequence[tuple[str, str]], period: int) -> int:
    """Return how many whole rounds of `period` symbols the sequence ends with."""
    if len(symbols) < period:
        return 0
    same = 0
    while same + period < len(symbols) and symbols[-1 - same] == symbols[-1 - same - period]:
        same += 1
    return 1 + same // period

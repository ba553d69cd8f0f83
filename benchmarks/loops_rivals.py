"""The published rules of OpenHands, gemini-cli and goose, written from their descriptions, for the same scripts.

Each reads a trace, the events of a run in order, and says after which event it would have ended the run. What they
say to the model before that is not played: the scripts do not listen.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Seen:
    """One event: a call with its result, or what a model said without a call."""

    tool: str = ""
    arguments: str = ""  # JSON, as the model wrote it
    result: str = ""
    failed: bool = False
    text: str = ""


Rule = Callable[[Sequence[Seen]], int | None]
"""Returns the number of events, from 1, after which the run is ended, or None."""


def openhands(trace: Sequence[Seen]) -> int | None:
    """End at four equal actions with equal observations, four equal failing ones, three messages, or ABABAB."""
    for end in range(1, len(trace) + 1):
        window = trace[max(0, end - 20) : end]
        last = [(one.tool, one.arguments) for one in window]
        whole = [(one.tool, one.arguments, one.result) for one in window]
        if len(whole) >= 4 and window[-1].tool and len(set(whole[-4:])) == 1:
            return end
        if len(last) >= 4 and len(set(last[-4:])) == 1 and all(one.failed for one in window[-4:]):
            return end
        if len(window) >= 3 and not any(one.tool for one in window[-3:]):
            return end
        if len(whole) >= 6 and all(whole[-n] == whole[-n - 2] for n in range(1, 5)) and window[-1].tool:
            return end
    return None


def gemini_cli(trace: Sequence[Seen]) -> int | None:
    """End at the second hit: a cycle of one to five calls gone through five times, results ignored, or a chanted text."""
    hits, calls = 0, deque[str](maxlen=25)
    for end, one in enumerate(trace, 1):
        if one.tool:
            calls.append(f"{one.tool}:{one.arguments}")
            hit = _cycled(list(calls))
        else:
            hit = _chanted(one.text)
        if hit:
            hits += 1
            calls.clear()
            if hits == 2:
                return end
    return None


def goose(trace: Sequence[Seen]) -> int | None:
    """End never: the count of equal calls is shipped without a limit, and three equal errors deny one call, then start afresh."""
    del trace
    return None


def goose_with_a_limit(trace: Sequence[Seen], limit: int = 3) -> int | None:
    """End at more than `limit` equal calls in a row: goose's rule as it was meant, with its state kept."""
    row = 0
    for end, one in enumerate(trace, 1):
        before = trace[end - 2] if end > 1 else None
        same = before is not None and one.tool and (one.tool, one.arguments) == (before.tool, before.arguments)
        row = row + 1 if same else 1
        if row > limit:
            return end
    return None


def written(arguments: object) -> str:
    """Return arguments as JSON in the order the model gave them."""
    return json.dumps(arguments, ensure_ascii=False, default=str)


def _cycled(calls: Sequence[str]) -> bool:
    return any(
        len(calls) >= 5 * k and all(calls[-n] == calls[-n - k] for n in range(1, 4 * k + 1)) for k in range(1, 6)
    )


def _chanted(text: str) -> bool:
    """Whether a chunk of 50 characters stands in the last 5,000 ten times, on average at most 250 apart."""
    text = text[-5_000:]
    places: dict[str, list[int]] = {}
    for n in range(len(text) - 49):
        places.setdefault(text[n : n + 50], []).append(n)
    for found in places.values():
        steps = [b - a for a, b in pairwise(found[-10:])]
        if len(found) >= 10 and sum(steps) / 9 <= 250 and len(Counter(steps)) <= 5:
            return True
    return False


RULES: dict[str, Rule] = {
    "OpenHands": openhands,
    "gemini-cli": gemini_cli,
    "goose": goose,
    "goose, limit 3": goose_with_a_limit,
}

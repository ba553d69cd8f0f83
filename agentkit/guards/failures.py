"""Failing in the same way, or at everything.

`same_error`: one tool, one cause, whatever the arguments. `refused`: tools that do not exist, and arguments
that do not fit. `failing`: nothing works any more, whichever tool. A successful change forgives earlier
failures (edit, then test again); tools whose failure is information are left alone; an overloaded or
unreachable server gets twice the patience, for waiting may help.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.guards.canonical import BLOCKED, REFUSALS, error_fingerprint, is_infrastructure
from agentkit.guards.finding import Finding, classes, tail
from agentkit.guards.progress import CHANGES
from agentkit.protocols import HistoryItem
from agentkit.types import Done, Failed

_SKIPPED = REFUSALS | BLOCKED  # other detectors' business


def same_error(items: Sequence[HistoryItem]) -> Finding | None:
    """Find one error of one tool: worth a word at the third, blocked at the fifth; twice that for infrastructure."""
    last = items[-1] if items else None
    if last is None or last.call is None or last.polls or last.failure_is_data:
        return None
    if not isinstance(last.outcome, Failed) or last.outcome.kind in _SKIPPED:
        return None
    tool, cause = last.call.tool, error_fingerprint(last.outcome)
    start, count = len(items), 0
    for n in range(len(items) - 1, -1, -1):
        item = items[n]
        if item.call is None:
            continue
        if isinstance(item.outcome, Done) and (item.call.tool == tool or item.effect in CHANGES):
            break
        if item.call.tool != tool:
            continue
        if not isinstance(item.outcome, Failed) or error_fingerprint(item.outcome) != cause:
            break
        start, count = n, count + 1
    patience = 2 if is_infrastructure(last.outcome) else 1
    failed = [item for item in items[start:] if item.call is not None and item.call.tool == tool]
    return Finding(
        detector="same_error",
        count=count,
        nudge_at=3 * patience,
        block_at=5 * patience,
        start=start,
        episode=f"same_error {tool} {cause}",
        what=f"{tool} failed {count} times in the same way: {_short(last.outcome)}",
        advice="Change what causes it, use another tool, or say that it cannot be done.",
        calls=classes(failed),
    )


def refused(items: Sequence[HistoryItem]) -> Finding | None:
    """Find a row of calls that cannot be made at all: worth a word at the third, and the fourth is the last."""
    start, count = tail(items, lambda item: isinstance(item.outcome, Failed) and item.outcome.kind in REFUSALS)
    if not count:
        return None
    last = next(item for item in reversed(items) if item.kind == "call")
    why = _short(last.outcome) if isinstance(last.outcome, Failed) else ""
    return Finding(
        detector="refused",
        count=count,
        nudge_at=3,
        block_at=4,
        start=start,
        episode="refused",
        what=f"{count} calls in a row could not be made: {why}",
        advice="Use only the tools and arguments listed.",
    )


def failing(items: Sequence[HistoryItem]) -> Finding | None:
    """Find that the last eight calls all failed, whatever the tool; twelve are too many."""
    start, count = tail(items, _failed)
    if not count:
        return None
    return Finding(
        detector="failing",
        count=count,
        nudge_at=8,
        block_at=12,
        start=start,
        episode="failing",
        what=f"the last {count} calls all failed, whichever the tool",
        advice="Say what is in the way, or try something quite different.",
    )


def _failed(item: HistoryItem) -> bool:
    if item.failure_is_data or item.polls or not isinstance(item.outcome, Failed):
        return False
    return item.outcome.kind not in BLOCKED


def _short(outcome: Failed) -> str:
    return " ".join(outcome.text.split())[:120].rstrip(".")

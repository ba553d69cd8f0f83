"""The history that guards read: one item for each finished step, with what is derived from it written down once.

What a call is the same as, what its outcome is the same as, what stands now and whether it was progress are worked
out when the call is recorded, from the items before it; so judging a step costs a few comparisons.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from agentkit.guards.canonical import REPEATED, call_class, canonical_arguments, outcome_class, output_digest
from agentkit.guards.near import near
from agentkit.guards.progress import cost
from agentkit.guards.window import recent
from agentkit.protocols import AskUser, HistoryItem, Nudge, Replan
from agentkit.types import Done, Effect, Failed, Outcome, ToolCall, ToolSpec

NEAR = 32  # earlier calls that a new one is compared with: four laps of the longest cycle
KEPT = 400  # characters of an output that the history holds; its digest is of the whole


def recorded(
    history: Sequence[HistoryItem],
    call: ToolCall,
    outcome: Outcome,
    spec: ToolSpec | None = None,
    *,
    seconds: float = 0.0,
) -> HistoryItem:
    """Return the item for a finished call, to be appended to `history`.

    Args:
        history: what came before it; only its newest part is read.
        call: as it was asked for.
        outcome: whole, however long.
        spec: the tool's; None (there is no such tool) counts as irreversible.
        seconds: how long the call took.
    """
    rules = spec.rules if spec is not None else None
    earlier = [item for item in recent(history) if item.call is not None]
    digest = output_digest(outcome.text)
    item = HistoryItem(
        kind="call",
        call=call,
        outcome=replace(outcome, text=outcome.text[:KEPT]),
        effect=rules.effect if rules is not None else Effect.IRREVERSIBLE,
        polls=bool(rules and rules.polls),
        failure_is_data=bool(rules and rules.failure_is_data),
        output_digest=digest,
        seconds=seconds,
        state=_state(earlier, outcome),
        outcome_key=outcome_class(outcome, digest),
    )
    item = replace(item, key=_class(item, earlier, spec))
    if isinstance(outcome, Failed) and outcome.kind == REPEATED:  # what it would have come to is known
        item = replace(item, outcome_key=next((o.outcome_key for o in reversed(earlier) if o.key == item.key), ""))
    return replace(item, cost=cost(item, earlier))


def said(verdict: Nudge | Replan | AskUser) -> HistoryItem:
    """Return the item for a guard's word, to be appended to the history."""
    item = HistoryItem(kind="nudge", detector=verdict.detector, episode=verdict.episode)
    if isinstance(verdict, AskUser):
        return replace(item, text=verdict.question, rung="ask")
    if isinstance(verdict, Replan):
        return replace(item, text=verdict.text, rung="replan", ban=verdict.ban)
    return replace(item, text=verdict.text)


def nothing(text: str, why: str) -> HistoryItem:
    """Return the item for a reply that came to nothing: `why` is "empty", "monologue", "cut_off" or "degenerate"."""
    return HistoryItem(kind="text", text=text[:KEPT], detector=why)


def banned(history: Sequence[HistoryItem]) -> frozenset[str]:
    """Return the classes of calls that are ruled out now: since a guard said so, nothing has changed in the world."""
    found: set[str] = set()
    for item in recent(history):
        if item.kind == "nudge":
            found.update(item.ban)
        elif item.effect in {Effect.WRITE, Effect.IRREVERSIBLE} and isinstance(item.outcome, Done) and item.cost == 0.0:
            found.clear()
    return frozenset(found)


def same_call(history: Sequence[HistoryItem], call: ToolCall, spec: ToolSpec | None = None) -> str:
    """Return the class that `call` would be recorded under."""
    rules = spec.rules if spec is not None else None
    item = HistoryItem(kind="call", call=call, effect=rules.effect if rules is not None else Effect.IRREVERSIBLE)
    return _class(item, [item for item in recent(history) if item.call is not None], spec)


def _class(item: HistoryItem, earlier: Sequence[HistoryItem], spec: ToolSpec | None) -> str:
    """Return the call's class: that of an earlier call worded nearly like it, else its own.

    A file written anew with a small change is another call: there the small change is the point.
    """
    assert item.call is not None  # the caller made it
    own = call_class(item.call, spec)
    if item.effect is Effect.WRITE and not isinstance(item.outcome, Failed):
        return own
    seen: set[str] = set()
    mine = canonical_arguments(item.call, spec)
    for other in reversed(earlier):
        if other.call is None or other.call.tool != item.call.tool or other.key in seen:
            continue
        if other.key == own or near(mine, canonical_arguments(other.call, spec)):
            return other.key or own
        seen.add(other.key)
        if len(seen) == NEAR:
            break
    return own


def _state(earlier: Sequence[HistoryItem], outcome: Outcome) -> str:
    """Return the digest of all that tools have said stands somewhere; empty until one has.

    Each digest is made of the one before and what is new, place by place, so that going back gives the same again.
    """
    if not isinstance(outcome, Done) or not outcome.state:
        return ""
    places: dict[str, str] = {}
    for item in earlier:
        if isinstance(item.outcome, Done):
            places.update(item.outcome.state)
    places.update(outcome.state)
    return hashlib.sha256(repr(sorted(places.items())).encode()).hexdigest()[:16]


__all__ = ["banned", "nothing", "recorded", "said", "same_call"]

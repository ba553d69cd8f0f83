"""The history of a run in its state: plain data there, items to the guards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, overload

from agentkit.protocols import HistoryItem
from agentkit.tools.outcomes import from_dict, to_dict
from agentkit.types import Effect, ToolCall

_PLAIN = [field.name for field in fields(HistoryItem) if field.name not in {"call", "outcome", "effect", "ban"}]


class History(Sequence[HistoryItem]):
    """The state's history as guards read it; an entry is read when it is asked for, and they ask for the newest."""

    def __init__(self, entries: Sequence[dict[str, Any]]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> HistoryItem: ...
    @overload
    def __getitem__(self, index: slice) -> list[HistoryItem]: ...
    def __getitem__(self, index: int | slice) -> HistoryItem | list[HistoryItem]:
        if isinstance(index, slice):
            return [read_item(entry) for entry in self._entries[index]]
        return read_item(self._entries[index])

    def __reversed__(self) -> Iterator[HistoryItem]:
        return (read_item(entry) for entry in reversed(self._entries))


def plain(item: HistoryItem) -> dict[str, Any]:
    """Return an item as plain data for the state; `read_item` is the inverse."""
    entry: dict[str, Any] = {name: getattr(item, name) for name in _PLAIN}
    entry |= {"effect": item.effect.value, "ban": list(item.ban)}
    if item.call is not None:
        entry |= {"id": item.call.id, "tool": item.call.tool, "arguments": dict(item.call.arguments)}
    if item.outcome is not None:
        entry["outcome"] = to_dict(item.outcome)
    return entry


def read_item(entry: dict[str, Any]) -> HistoryItem:
    """Return one entry of the state's history as guards see it."""
    call = None
    if "tool" in entry:
        call = ToolCall(id=entry["id"], tool=entry["tool"], arguments=entry["arguments"])
    return HistoryItem(
        **{name: entry[name] for name in _PLAIN if name in entry},
        call=call,
        outcome=from_dict(entry["outcome"]) if entry.get("outcome") else None,
        effect=Effect(entry.get("effect", Effect.READ)),
        ban=tuple(entry.get("ban", ())),
    )


def brings_nothing(before: Sequence[HistoryItem], after: Sequence[HistoryItem]) -> bool:
    """Whether all calls since `before` only looked, had been made there, and gave what they gave then.

    What waits for something to change, and so has to be asked again and again, is not meant.
    """
    calls = [item for item in after[len(before) :] if item.kind == "call"]
    known = {(item.key, item.outcome_key, item.output_digest, item.state) for item in before if item.kind == "call"}
    return bool(calls) and all(
        item.effect in (Effect.PURE, Effect.READ)
        and not item.polls
        and (item.key, item.outcome_key, item.output_digest, item.state) in known
        for item in calls
    )

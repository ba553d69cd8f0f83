"""Training data from a file: TRL's formats, as JSON Lines or Parquet, checked row by row.

A row says where it stands (`line 7` of JSON Lines, `row 7` of Parquet, both from 1). Texts are plain strings, or
conversations: lists of `{"role": ..., "content": ...}`; all rows of a file are of one sort. Tool calls and tools are taken in the
OpenAI form, with arguments as an object or as JSON text.

| kind | columns | for |
|---|---|---|
| `text` | `text`, or `messages`, or `prompt` and `completion` | SFT |
| `preference` | `chosen` and `rejected`, and `prompt` unless they are conversations that begin with it | DPO, reward |
| `prompts` | `prompt`; others are handed to the reward function | GRPO |

Formats: https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agentkit.errors import InvalidParams
from agentkit_training.finetune.tool_calls import with_calls

__all__ = ["Kind", "Row", "Rows", "held_out", "read_rows", "sort_of"]

Kind = Literal["text", "preference", "prompts"]
ROLES = ("system", "user", "assistant", "tool")
SHOWN = 5  # rows that an error names


@dataclass(frozen=True, slots=True)
class Row:
    """One row and where it stands."""

    place: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of one file that can be used.

    Attributes:
        path: the file.
        rows: what was read, in the file's order.
        columns: those that training reads.
        conversational: whether texts are lists of messages.
        left_out: `place: reason` of each row that was not taken.
    """

    path: Path
    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    conversational: bool
    left_out: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """A hash of what is trained on, whatever the file's format."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(json.dumps(row.data, sort_keys=True, default=str).encode())
        return digest.hexdigest()

    def without(self, bad: Mapping[str, str], *, skip: bool) -> Rows:
        """Return the rows whose place is not in `bad`, which maps places to reasons.

        Raises:
            InvalidParams: there are bad ones and `skip` is false, or none is left.
        """
        kept = tuple(row for row in self.rows if row.place not in bad)
        problems = tuple(f"{place}: {reason}" for place, reason in bad.items())
        _refuse(self.path, problems, len(self.rows), len(kept), skip=skip)
        return Rows(
            path=self.path,
            rows=kept,
            columns=self.columns,
            conversational=self.conversational,
            left_out=self.left_out + problems,
        )


def read_rows(path: Path, kind: Kind, *, skip: bool = False) -> Rows:
    """Read and check a file.

    Args:
        path: `.jsonl` or `.parquet`; anything else is read as JSON Lines.
        kind: what the rows are for.
        skip: leave bad rows out instead of refusing the file.

    Raises:
        InvalidParams: no such file, no rows, no columns of that kind, or rows that cannot be used; names them.
    """
    if not path.is_file():
        raise InvalidParams(f"/data: there is no file {path}; give JSON Lines or Parquet with {_wanted(kind)}")
    good: list[Row] = []
    bad: list[str] = []
    columns: tuple[str, ...] = ()
    conversational: bool | None = None
    for place, data in _parquet(path) if path.suffix == ".parquet" else _json_lines(path):
        if isinstance(data, str):
            bad.append(f"{place}: {data}")
            continue
        data, told = with_calls(data)
        columns = columns or _columns(data, kind)
        reason = _missing(data, columns, kind) or _CHECKS[kind](data) or told
        talks = any(isinstance(data.get(name), list) for name in columns)
        if not reason and conversational is not None and talks != conversational:
            reason = "is a conversation and rows before are plain texts, or the other way round; one file has one sort"
        if reason:
            bad.append(f"{place}: {reason}")
        else:
            conversational = talks
            good.append(Row(place, data))
    if not good and not bad:
        raise InvalidParams(f"/data: {path} has no rows; give JSON Lines or Parquet with {_wanted(kind)}")
    _refuse(path, bad, len(good) + len(bad), len(good), skip=skip)
    found = Rows(path=path, rows=tuple(good), columns=columns, conversational=bool(conversational), left_out=tuple(bad))
    if kind == "preference":
        _not_one_sided(found)
    return found


def sort_of(path: Path) -> Kind:
    """Return what a file's rows are for, by the columns of the first that can be read: pairs, texts, or prompts.

    Raises:
        InvalidParams: there is no such file, or no row in it.
    """
    if not path.is_file():
        raise InvalidParams(f"/data: there is no file {path}; give JSON Lines or Parquet")
    for _, data in _parquet(path) if path.suffix == ".parquet" else _json_lines(path):
        if isinstance(data, str):
            continue
        if "chosen" in data or "rejected" in data:
            return "preference"
        return "text" if {"messages", "text", "completion"} & data.keys() else "prompts"
    raise InvalidParams(f"/data: {path} has no rows; give JSON Lines or Parquet")


def held_out(rows: Rows, share: float) -> tuple[list[Row], list[Row]]:
    """Divide rows into those to train on and those to evaluate on, by a hash of each prompt.

    Rows with one prompt go to one side; adding rows moves none of the others. At least one row stays on each side if
    `share` is above 0.

    Raises:
        InvalidParams: `share` is above 0 and all rows have one prompt.
    """
    if share <= 0:
        return list(rows.rows), []
    by_prompt: dict[str, list[Row]] = {}
    for row in rows.rows:
        first = row.data.get(rows.columns[0])
        by_prompt.setdefault(hashlib.sha256(json.dumps(first, default=str).encode()).hexdigest(), []).append(row)
    if len(by_prompt) < 2:
        raise InvalidParams(f"/held_out: all rows of {rows.path} have one prompt; give an evaluation file, or 0")
    order = sorted(by_prompt)
    limit = f"{round(share * 0xFFFFFFFF):08x}"
    out = {key for key in order if key[:8] < limit} or {order[0]}
    if len(out) == len(order):
        out.discard(order[-1])
    train = [row for key, group in by_prompt.items() if key not in out for row in group]
    return train, [row for key, group in by_prompt.items() if key in out for row in group]


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                data = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except ValueError as error:
                data = f"is no JSON ({error})"
            yield f"line {number}", data if isinstance(data, dict | str) else f"is a {type(data).__name__}, no object"


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    from pyarrow import ArrowException  # noqa: PLC0415  of the extra, and only here
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    try:
        number = 0
        for batch in ParquetFile(path).iter_batches(1_024):
            for data in batch.to_pylist():
                number += 1
                yield f"row {number}", {name: value for name, value in data.items() if value is not None}
    except (ArrowException, OSError) as error:
        raise InvalidParams(f"/data: {path} cannot be read as Parquet ({error}); give Parquet or JSON Lines") from error


def _columns(data: Mapping[str, Any], kind: Kind) -> tuple[str, ...]:
    """Return the columns that a file is used by, from its first row."""
    if kind == "text" and "messages" in data:
        return ("messages",)
    if kind == "text" and "text" in data and "completion" not in data:
        return ("text",)
    if kind == "text":
        return ("prompt", "completion")
    if kind == "preference":
        return ("prompt", "chosen", "rejected") if "prompt" in data else ("chosen", "rejected")
    return ("prompt",)


def _wanted(kind: Kind) -> str:
    return {
        "text": "`text`, `messages`, or `prompt` and `completion`",
        "preference": "`prompt`, `chosen` and `rejected`",
        "prompts": "`prompt`",
    }[kind]


def _missing(data: Mapping[str, Any], columns: Sequence[str], kind: Kind) -> str:
    absent = [name for name in columns if name not in data]
    return f"has no `{'`, `'.join(absent)}`; rows need {_wanted(kind)}" if absent else ""


def _check_text(data: Mapping[str, Any]) -> str:
    if "messages" in data and "completion" not in data:
        return _wrong(data, "messages", conversation=True) or (
            "" if any(one["role"] == "assistant" for one in data["messages"]) else "has no turn of the assistant"
        )
    if "completion" not in data:
        return _wrong(data, "text", conversation=False)
    return _wrong(data, "prompt", empty=True) or _wrong(data, "completion") or _alike(data, "prompt", "completion")


def _check_preference(data: Mapping[str, Any]) -> str:
    names = [name for name in ("chosen", "rejected", "prompt") if name in data]
    for name in names:
        reason = _wrong(data, name, empty=name == "prompt")
        if reason:
            return reason
    if data["chosen"] == data["rejected"]:
        return "chosen and rejected are the same: there is nothing to prefer"
    if "prompt" not in data and isinstance(data["chosen"], str):
        return "has no `prompt`; only conversations may leave it out"
    return _alike(data, *names)


def _check_prompts(data: Mapping[str, Any]) -> str:
    return _wrong(data, "prompt")


_CHECKS: Mapping[Kind, Callable[[Mapping[str, Any]], str]] = {
    "text": _check_text,
    "preference": _check_preference,
    "prompts": _check_prompts,
}


def _wrong(data: Mapping[str, Any], name: str, *, conversation: bool | None = None, empty: bool = False) -> str:
    """Return what is wrong with one column, or nothing."""
    value = data.get(name)
    if isinstance(value, str) and conversation is not True:
        return "" if empty or value.strip() else f"`{name}` is empty"
    if isinstance(value, list) and conversation is not False:
        return _wrong_messages(value, name)
    sort = {None: "a text or a list of messages", True: "a list of messages", False: "a text"}[conversation]
    return f"`{name}` is {type(value).__name__}, not {sort}"


def _wrong_messages(value: Sequence[Any], name: str) -> str:
    if not value:
        return f"`{name}` has no messages"
    for number, one in enumerate(value):
        if not isinstance(one, Mapping) or one.get("role") not in ROLES:
            return f"`{name}[{number}]` has no role of {', '.join(ROLES)}"
        said = one.get("content")
        if not (isinstance(said, str) and said.strip()) and not one.get("tool_calls"):
            return f"`{name}[{number}]` has no content"
    return ""


def _alike(data: Mapping[str, Any], *names: str) -> str:
    sorts = {isinstance(data[name], list) for name in names}
    return "mixes plain texts and conversations" if len(sorts) > 1 else ""


def _not_one_sided(found: Rows) -> None:
    """Refuse preferences that only say of one text that it is better, or worse, than all others."""
    if "prompt" not in found.columns or _different(found, "prompt") < 2:
        return
    for name in ("chosen", "rejected"):
        if _different(found, name) == 1:
            raise InvalidParams(
                f"/data: {found.path}: `{name}` is the same text in all {len(found.rows)} rows, so that the model would learn "
                "that text and nothing else; give answers to each prompt"
            )


def _different(found: Rows, name: str) -> int:
    return len({json.dumps(row.data[name]) for row in found.rows})


def _refuse(path: Path, bad: Iterable[str], total: int, left: int, *, skip: bool) -> None:
    bad = list(bad)
    if not bad or (skip and left):
        return
    more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    mend = "mend them" if skip else "mend them, or leave them out with --skip-bad-rows"
    raise InvalidParams(
        f"/data: {path}: {len(bad)} of {total} rows cannot be used: {'; '.join(bad[:SHOWN])}{more}; {mend}"
    )

"""What a measurement says, as rows of a table and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["image_table", "markdown", "saved_table", "trace_table"]


def image_table(one: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a student's rows: labels, what from, accuracy, difference to real labels alone."""
    gains = {(row["arm"], row["share"]): row for row in one["differences"]}
    return [
        {
            "trained on": row["arm"], "real labels": f"{row['labels']:,}" if row["labels"] else "-", "images": f"{row['images']:,}",
            "accuracy": share(row), "against real alone": signed(gains.get((row["arm"], row["share"]))),
        }
        for row in sorted(one["rows"], key=lambda row: (row["labels"], row["arm"]))
    ]  # fmt: skip


def saved_table(one: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return labels saved at equal accuracy; labels used are those mixed in, or those that the generator saw, if these are more."""
    return [
        {
            "helped by": row["arm"].removeprefix("real").lstrip(" +,"), "mixed in": f"{row['mixed_in']:,}", "labels used": f"{row['labels']:,}", "accuracy": f"{100 * row['accuracy']:.1f} %",
            "real alone needs": f"more than {row['of']:,}" if row["needed"] is None else f"{row['needed']:,.0f}", "saved": _saved(row),
        }
        for row in sorted(one["saved"], key=lambda row: (row["arm"], row["mixed_in"]))
    ]  # fmt: skip


def trace_table(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row for each family, and one for all."""
    rows = [*found["families"], {"family": "mean of all", **found["all"]}]
    return [
        {
            "family": row["family"], "explanations": share(row["explained"]), "answers": share(row["answers"]), "gain": signed(row["gain"]),
            "answers, as many tokens": share(row["answers_as_many_tokens"]), "gain at equal tokens": signed(row["gain_at_equal_tokens"]),
        }
        for row in rows
    ]  # fmt: skip


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows as a Markdown table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *[[row[name] for name in names] for row in rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def share(row: Mapping[str, Any]) -> str:
    """Return a share with its interval."""
    told = f"{100 * row['mean']:.1f} %"
    if row["interval"] is None:
        return f"{told} ({_without(row)})"
    low, high = (100 * min(1.0, max(0.0, end)) for end in row["interval"])
    return f"{told} ({low:.1f} to {high:.1f})"


def signed(row: Mapping[str, Any] | None) -> str:
    """Return a difference of shares in points, with its interval."""
    if row is None:
        return "-"
    told = f"{100 * row['mean']:+.1f}"
    if row["interval"] is None:
        return f"{told} ({_without(row)})"
    return f"{told} ({100 * row['interval'][0]:+.1f} to {100 * row['interval'][1]:+.1f})"


def _without(row: Mapping[str, Any]) -> str:
    """Return why a row has no interval."""
    return "all seeds alike" if row.get("alike") else f"too few seeds: {row['too_few']} of {row['wanted']}"


def _saved(row: Mapping[str, Any]) -> str:
    bound = "at least " if row["at_least"] else "at most " if row["at_most"] else ""
    told = f"{bound}{row['saved']:,.0f}"
    if row["interval"] is None:
        return f"{told} ({_without(row)})"
    low, high = row["interval"]
    return f"{told} ({low:,.0f} to {high:,.0f}{' or more' if row['ends_beyond'] else ''})"

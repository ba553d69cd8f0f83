"""Tables: rows that fit, sums and means of a column, extremes, groups, two columns together, look-ups in a second table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Any

from agentkit_synthesis.traces.pools import CITIES, GOODS, PEOPLE, SERVICES, say
from agentkit_synthesis.traces.problem import Problem, Working

__all__ = ["make"]

Table = list[dict[str, Any]]

# what the rows are, the column that names them, columns of words with their values, columns of numbers with their ranges
SHAPES: tuple[tuple[str, str, tuple[str, ...], Mapping[str, tuple[str, ...]], Mapping[str, tuple[int, int]]], ...] = (
    ("orders", "item", GOODS, {"city": CITIES[:4], "state": ("open", "sent", "paid")}, {"count": (1, 60), "price": (2, 90)}),
    ("people", "name", PEOPLE, {"team": ("blue", "green", "red"), "city": CITIES[5:9]}, {"hours": (5, 48), "score": (10, 99)}),
    ("servers", "service", SERVICES, {"zone": ("east", "north", "west"), "state": ("up", "down", "slow")}, {"load": (1, 99), "errors": (0, 70)}),
    ("branches", "city", CITIES, {"region": ("coast", "hills", "plain"), "type": ("shop", "store", "kiosk")}, {"sales": (50, 900), "staff": (2, 60)}),
    ("goods", "item", GOODS, {"shelf": ("A1", "B2", "C3"), "maker": ("Arva", "Belto", "Cindo")}, {"stock": (0, 200), "weight": (1, 40)}),
    ("runs", "job", SERVICES, {"owner": PEOPLE[:4], "result": ("ok", "failed", "skipped")}, {"minutes": (1, 95), "retries": (0, 9)}),
)  # fmt: skip
TESTS = (("over", "over {v}"), ("under", "under {v}"), ("at least", "at least {v}"), ("at most", "at most {v}"))


def make(rng: Random, level: int) -> Problem:
    """Return a problem; `level` is 1 to 3."""
    return rng.choice(KINDS)(rng, level)


class Made:
    """A table that was made up, and how it is written down."""

    def __init__(self, rng: Random, level: int) -> None:
        self.what, self.key, names, self.words, self.figures = rng.choice(SHAPES)
        self.rows: Table = [
            {
                self.key: name,
                **{column: rng.choice(values) for column, values in self.words.items()},
                **{column: rng.randint(*ends) for column, ends in self.figures.items()},
            }
            for name in rng.sample(names, rng.randint(4, 4 + 2 * level))
        ]
        self.text = rng.choice(WRITERS)(self.rows)
        self.intro = say(
            rng,
            "These are the {w}:",
            "The table lists {w}.",
            "Here is a table of {w}.",
            "Given these {w}:",
            w=self.what,
        )


def filtered(rng: Random, level: int) -> Problem:
    """Rows that fit one condition, or two; then a figure of a column."""
    table = Made(rng, level)
    work = Working({"table": table.rows})
    rows, told, name = _conditions(rng, table, work, 1 if level == 1 else 2)
    if not rows and rng.random() < 0.8:
        return filtered(rng, level)
    figure, other = rng.sample(sorted(table.figures), 2)
    values = [row[figure] for row in rows]
    if level == 1 and rng.random() < 0.5:
        question = say(rng, "How many {w} have {t}?", "Count the {w} with {t}.", w=table.what, t=told)
        work.step("count these rows", "their number is asked for", f"len({name})", len(rows))
        return _done(work, table, "count", question, f"{{r}} {table.what} have {told}")
    column = work.step(
        f"read the column {figure} of these rows",
        "only this column is asked for",
        f'column({name}, "{figure}")',
        values,
    )
    total = work.step(
        "add the values up", "the total is asked for", f"sum({column})", sum(values), _sum(column, values)
    )
    if level == 3 and rows:
        values2 = [row[other] for row in rows]
        column2 = work.step(
            f"read the column {other} of the same rows", "it is to be compared", f'column({name}, "{other}")', values2
        )
        total2 = work.step(
            "add these up, too", "totals are compared", f"sum({column2})", sum(values2), _sum(column2, values2)
        )
        work.step(
            "subtract",
            "the difference is asked for",
            f"{total} - {total2}",
            sum(values) - sum(values2),
            f"{{{total}}} - {{{total2}}}",
        )
        question = say(rng, "Take the {w} with {t}. What is the total of {a} less the total of {b}?", "For the {w} with {t}: by how much is the total of {a} above that of {b} (negative if below)?", w=table.what, t=told, a=figure, b=other)  # fmt: skip
        return _done(work, table, "difference", question, "the difference is {r}")
    question = say(
        rng,
        "What is the total of {c} over the {w} with {t}?",
        "Add up {c} for all {w} with {t}.",
        c=figure,
        w=table.what,
        t=told,
    )
    return _done(work, table, "total", question, "the total is {r}")


def extreme(rng: Random, level: int) -> Problem:
    """The row that has the most or least, and another column of it."""
    table = Made(rng, level)
    figure, other = rng.sample(sorted(table.figures), 2)
    for place, row in enumerate(table.rows):  # no two alike: one row is asked for
        while any(row[figure] == earlier[figure] for earlier in table.rows[:place]):
            row[figure] += 1
    table.text = rng.choice(WRITERS)(table.rows)
    work = Working({"table": table.rows})
    rows, told, name = (table.rows, "", "table") if level == 1 else _conditions(rng, table, work, 1, figure)
    if not rows:
        return extreme(rng, level)
    most = rng.random() < 0.5
    values = [row[figure] for row in rows]
    column = work.step(
        f"read the column {figure}" + (" of these rows" if told else ""),
        "it decides",
        f'column({name}, "{figure}")',
        values,
        fixed=True,
    )
    best = max(values) if most else min(values)
    top = work.step(
        f"take the {'largest' if most else 'smallest'} value",
        "that is asked for",
        f"{'max' if most else 'min'}({column})",
        best,
    )
    row = next(row for row in rows if row[figure] == best)
    word = "largest" if most else "smallest"
    among = f" of those with {told}" if told else ""
    if level == 3:
        work.step(f"look up {other} in the row where {figure} is {{{top}}}", "that row is meant", f'find(table, "{figure}", {top})["{other}"]', row[other])  # fmt: skip
        question = say(rng, "What is the {o} of the row with the {m} {f}{a}?", "Look up {o} where {f} is {m}{a}.", o=other, m=word, f=figure, a=among)  # fmt: skip
        return _done(work, table, "its figure", question, f"its {other} is {{r}}")
    work.step(f"look up {table.key} in the row where {figure} is {{{top}}}", "its name is asked for", f'find(table, "{figure}", {top})["{table.key}"]', row[table.key])  # fmt: skip
    question = say(
        rng,
        "Which {k} has the {m} {f}{a}?",
        "Say which {k} has the {m} {f}{a}.",
        k=table.key,
        m=word,
        f=figure,
        a=among,
    )
    return _done(work, table, "which", question, f"it is {{r}}, with {{{top}}}")


def grouped(rng: Random, level: int) -> Problem:
    """Totals of groups, compared."""
    table = Made(rng, level + 1)
    label, figure = rng.choice(sorted(table.words)), rng.choice(sorted(table.figures))
    labels = sorted({row[label] for row in table.rows})
    if len(labels) < 2:
        return grouped(rng, level)
    chosen = rng.sample(labels, min(len(labels), 2 if level < 3 else 3))
    work = Working({"table": table.rows})
    sums, names = [], []
    for group in chosen:
        values = [row[figure] for row in table.rows if row[label] == group]
        sums.append(sum(values))
        rows = work.step(f"take the column {figure} where {label} is {group}", "groups are looked at one by one", f'column(where(table, "{label}", "is", "{group}"), "{figure}")', values)  # fmt: skip
        names.append(work.step("add it up", "totals are compared", f"sum({rows})", sum(values), _sum(rows, values)))
    listed = ", ".join(chosen[:-1]) + f" and {chosen[-1]}"
    shown = ", ".join(f"{{{name}}}" for name in names)
    if level == 1:
        work.step("subtract the smaller from the larger", "the difference is asked for", f"abs({names[0]} - {names[1]})", abs(sums[0] - sums[1]), f"{shown.replace(', ', ' and ')}: difference")  # fmt: skip
        question = say(rng, "By how much do the totals of {f} differ between the {l} {c}?", "Compare the total {f} of {l} {c}: how large is the difference?", f=figure, l=label, c=listed)  # fmt: skip
        return _done(work, table, "group difference", question, "they differ by {r}")
    most = max(sums)
    if sums.count(most) > 1:
        return grouped(rng, level)
    top = work.step(
        "take the largest total", "the largest is asked for", f"max({', '.join(names)})", most, f"largest of {shown}"
    )
    if level == 2:
        question = say(rng, "Which total of {f} is larger, that of {l} {c}? Give the larger total.", "Add up {f} for the {l} {c}, and give the larger sum.", f=figure, l=label, c=listed)  # fmt: skip
        return _done(work, table, "group maximum", question, "the larger total is {r}")
    rest = work.step(
        "add all of them up",
        "a share is of the whole",
        " + ".join(names),
        sum(sums),
        " + ".join(f"{{{name}}}" for name in names),
    )
    work.step(
        "subtract the largest",
        "the others are what is left",
        f"{rest} - {top}",
        sum(sums) - most,
        f"{{{rest}}} - {{{top}}}",
    )
    question = say(rng, "Add up {f} for each of the {l} {c}. What do all but the largest of these totals come to?", "For the {l} {c}, take the total {f} of each; leave the largest out and add the others.", f=figure, l=label, c=listed)  # fmt: skip
    return _done(work, table, "others", question, "the others come to {r}")


def products(rng: Random, level: int) -> Problem:
    """Two columns multiplied row by row."""
    table = Made(rng, 1)
    a, b = sorted(table.figures)
    chosen = rng.sample(table.rows, level + 1)
    work = Working({"table": table.rows})
    parts, total = [], 0
    for row in chosen:
        parts.append(work.step(f"multiply {a} by {b} for {row[table.key]}", "both columns count", f'find(table, "{table.key}", "{row[table.key]}")["{a}"] * find(table, "{table.key}", "{row[table.key]}")["{b}"]', row[a] * row[b], f"{row[a]} × {row[b]}"))  # fmt: skip
        total += row[a] * row[b]
    work.step(
        "add the products",
        "the whole is asked for",
        " + ".join(parts),
        total,
        " + ".join(f"{{{part}}}" for part in parts),
    )
    names = ", ".join(row[table.key] for row in chosen[:-1]) + f" and {chosen[-1][table.key]}"
    question = say(
        rng,
        "What is {a} times {b}, added up over {n}?",
        "Multiply {a} by {b} for each of {n}, and add the results.",
        a=a,
        b=b,
        n=names,
    )
    return _done(work, table, "products", question, "it comes to {r}")


def means(rng: Random, level: int) -> Problem:
    """The mean of a column, rounded, and who is above it."""
    table = Made(rng, level)
    figure = rng.choice(sorted(table.figures))
    values = [row[figure] for row in table.rows]
    work = Working({"table": table.rows})
    column = work.step(f"read the column {figure}", "its mean is asked for", f'column(table, "{figure}")', values)
    total = work.step("add it up", "the mean needs the sum", f"sum({column})", sum(values), _sum(column, values))
    count = work.step("count the rows", "the sum is divided among them", "len(table)", len(values))
    mean = _rounded(Fraction(sum(values), len(values)))
    name = work.step("divide, and round to 2 decimals", "the mean is the sum by the number", f"rounded({total} / {count}, 2)", mean, f"{{{total}}} / {{{count}}}")  # fmt: skip
    if level == 1:
        question = say(
            rng,
            "What is the mean of {c}, rounded to 2 decimals?",
            "Give the average {c} with 2 decimals (halves are rounded up).",
            c=figure,
        )
        return _done(work, table, "mean", question, f"the mean {figure} is {{r}}")
    above = [row for row in table.rows if row[figure] > mean]
    rows = work.step(f"keep the rows where {figure} is over it", "only these are above the mean", f'column(where(table, "{figure}", "over", {name}), "{table.key}")', [row[table.key] for row in above])  # fmt: skip
    if level == 2:
        question = say(rng, "How many {w} have a {c} above the mean (rounded to 2 decimals)?", "Take the mean of {c}, rounded to 2 decimals: how many {w} are above it?", w=table.what, c=figure)  # fmt: skip
        work.step("count them", "their number is asked for", f"len({rows})", len(above))
        return _done(work, table, "above", question, "{r} are above the mean")
    question = say(rng, "For which {k} is {c} above the mean (rounded to 2 decimals)? Keep the table's order.", "Name every {k} whose {c} is above the mean, rounded to 2 decimals, in the order of the table.", k=table.key, c=figure)  # fmt: skip
    return _done(work, table, "names above", question, "above the mean: {r}")


KINDS: tuple[Callable[[Random, int], Problem], ...] = (filtered, extreme, grouped, products, means)


def _conditions(rng: Random, table: Made, work: Working, count: int, but: str = "") -> tuple[Table, str, str]:
    """Add steps that keep the rows which fit; return these rows, the conditions in words, and the result's name."""
    rows, told, name = table.rows, [], "table"
    label = rng.choice(sorted(table.words))
    value = rng.choice(rows)[label]
    rows = [row for row in rows if row[label] == value]
    told.append(f"{label} {value}")
    name = work.step(f"keep the rows where {label} is {value}", "only these are asked about", f'column(where({name}, "{label}", "is", "{value}"), "{table.key}")', [row[table.key] for row in rows], fixed=True)  # fmt: skip
    kept = f'where(table, "{label}", "is", "{value}")'
    if count > 1:
        figure = rng.choice([column for column in sorted(table.figures) if column != but])
        test, words = rng.choice(TESTS)
        limit = rng.choice(table.rows)[figure]
        rows = [row for row in rows if _passes(row[figure], test, limit)]
        told.append(f"{figure} {words.format(v=limit)}")
        kept = f'where({kept}, "{figure}", "{test}", {limit})'
        work.step(f"of these keep the rows where {figure} is {words.format(v=limit)}", "both conditions must hold", f'column({kept}, "{table.key}")', [row[table.key] for row in rows], fixed=True)  # fmt: skip
    return rows, " and ".join(told), kept


def _passes(value: int, test: str, limit: int) -> bool:
    return {"over": value > limit, "under": value < limit, "at least": value >= limit, "at most": value <= limit}[test]


def _sum(name: str, values: Sequence[int]) -> str:
    """Return how the sum of a list is shown: not at all where there is nothing to add."""
    return f"{{{name}_sum}}" if len(values) > 1 else ""


def _done(work: Working, table: Made, kind: str, question: str, conclusion: str) -> Problem:
    return work.done(kind, f"{table.intro}\n\n{table.text}\n\n{question}", conclusion)


def _rounded(value: Fraction) -> Fraction:
    return Fraction(int(value * 100 + Fraction(1, 2)), 100)


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(rows[0])
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join(lines + [f"| {' | '.join(str(row[column]) for column in columns)} |" for row in rows])


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join([",".join(rows[0])] + [",".join(map(str, row.values())) for row in rows])


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def _aligned(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [list(rows[0]), *[[str(value) for value in row.values()] for row in rows]]
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


WRITERS: tuple[Callable[[Sequence[Mapping[str, Any]]], str], ...] = (_markdown, _csv, _json, _aligned)

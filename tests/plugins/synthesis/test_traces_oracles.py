"""The steps are the ones the question asks for: answers worked out once more, from what is given, in a third way."""

from __future__ import annotations

import calendar
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest

from agentkit_synthesis.dataset import Rejected
from agentkit_synthesis.traces.problem import show
from agentkit_synthesis.traces.source import make

Given = Mapping[str, Any]
ROWS = 420  # of a family


def exact(value: Any) -> Fraction:
    return Fraction(str(value))


def every(given: Given, name: str) -> list[Fraction]:
    """Return the values whose names are `name` and a number, in order."""
    found = {int(key[len(name) :]): exact(value) for key, value in given.items() if re.fullmatch(rf"{name}\d+", key)}
    return [found[number] for number in sorted(found)]


def paid(given: Given, asked: str) -> Fraction:
    whole = sum((c * p for c, p in zip(every(given, "count"), every(given, "price"), strict=True)), Fraction(0))
    return whole * (1 - exact(given.get("percent", 0)) / 100)


def travelled(given: Given, asked: str) -> Fraction:
    return sum((v * h for v, h in zip(every(given, "speed"), every(given, "hours"), strict=True)), Fraction(0))


def earned(given: Given, asked: str) -> Fraction:
    wage = exact(given["wage"])
    whole = given["hours"] * wage + given.get("extra", 0) * wage * (1 + exact(given.get("more", 0)) / 100)
    return whole * (1 - exact(given.get("tax", 0)) / 100)


def nth(given: Given, asked: str) -> date:
    return date.fromisoformat(given["first"]) + timedelta((given["number"] - 1) * given["every"] + given.get("late", 0))


def days_left(given: Given, asked: str) -> int:
    today = date.fromisoformat(given["today"])
    return calendar.monthrange(today.year, today.month)[1] - today.day


def span(given: Given, asked: str) -> int:
    return (date.fromisoformat(given["last"]) - date.fromisoformat(given["first"])).days - given.get("off", 0)


def workdays_end(given: Given, asked: str) -> date:
    start, day = date.fromisoformat(given["start"]), 0
    while sum((start + timedelta(k)).weekday() < 5 for k in range(1, day + 1)) < given["days"]:
        day += 1
    return start + timedelta(day)


def clock(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def arrival(given: Given, asked: str) -> str:
    minute = int(clock(given["start"]) + sum(every(given, "ride")) + sum(every(given, "wait"))) % 1440
    return f"{minute // 60:02}:{minute % 60:02}"


def worked(given: Given, asked: str) -> int:
    return ((clock(given["end"]) - clock(given["start"])) % 1440 - given["pause"]) * int(given.get("days", 1))


def near(given: Given, node: str) -> set[str]:
    return {end for road in given["roads"] if node in road[:2] for end in road[:2]} - {node}


def schedule(given: Given, asked: str) -> int:
    found = re.search(r"(?:When is|can) (\w+) (?:done|be finished) at the earliest", asked)
    assert found is not None

    def end(task: str) -> int:
        return int(given[f"t_{task}"]) + max((end(a) for a, b in given["needs"] if b == task), default=0)

    return end(found[1])


def lacking(given: Given, asked: str) -> list[str]:
    return sorted(set(given["wanted"]) - set(given["there"]) - set(given.get("ordered", ())))


def busiest(given: Given, asked: str) -> list[int]:
    return sorted(Counter(line.split()[2] for line in given["log"]).values(), reverse=True)


def in_force(given: Given, asked: str) -> dict[str, int]:
    """Return the settings that count; layers stand in the question in their order."""
    found: dict[str, int] = {}
    for line in asked.splitlines():
        name, sign, value = line.partition(" = ")
        if sign:
            found[name] = int(value)
    return found


def asked_settings(given: Given, asked: str) -> int:
    values = in_force(given, asked)
    return sum(values[name] for name in values if re.search(rf"\b{name}\b", asked.rpartition("\n\n")[2]))


def changed(given: Given, asked: str) -> int:
    old, new = (dict(line.split(" = ") for line in given[name]) for name in ("old", "new"))
    return sum(old[key] != new[key] for key in old.keys() & new.keys())


def complete(given: Given, asked: str) -> list[bool]:
    needs = {tool["does"]: set(tool["needs"]) for tool in given["tools"]}
    wanted = [key for key in given if key.startswith("action")]
    return [needs[given[key]] <= set(given[key.replace("action", "known")]) for key in wanted]


TESTS = {
    "over": lambda a, b: a > b,
    "under": lambda a, b: a < b,
    "at least": lambda a, b: a >= b,
    "at most": lambda a, b: a <= b,
}
FITS = re.compile(r"(?:have|with) (?!the )(\w+) ([A-Za-z]\w*)(?: and (\w+) (over|under|at least|at most) (\d+))?")


def sentence(asked: str) -> str:
    return asked.rpartition("\n\n")[2]


def fitting(given: Given, asked: str) -> list[Mapping[str, Any]]:
    """Return the rows that the question's conditions let through; all where it names none."""
    found = FITS.search(sentence(asked))
    if found is None:
        return list(given["table"])
    label, value, figure, test, limit = found.groups()
    rows = [row for row in given["table"] if row[label] == value]
    return [row for row in rows if figure is None or TESTS[test](row[figure], int(limit))]


def columns(given: Given, asked: str) -> list[str]:
    """Return the names of columns in the question, as they come."""
    names = "|".join(given["table"][0])
    return re.findall(rf"\b({names})\b", sentence(asked))


def summed(given: Given, asked: str, which: int = 0) -> int:
    figures = [name for name in columns(given, asked) if isinstance(given["table"][0][name], int)]
    return sum(row[figures[which]] for row in fitting(given, asked))


def difference(given: Given, asked: str) -> int:
    found = re.search(r"of (\w+) (?:less the total|above that) of (\w+)", sentence(asked))
    assert found is not None
    return sum(row[found[1]] - row[found[2]] for row in fitting(given, asked))


def extreme(given: Given, asked: str) -> Mapping[str, Any]:
    found = re.search(r"(largest|smallest) (\w+)|(\w+) is (largest|smallest)", sentence(asked))
    assert found is not None
    figure = found[2] or found[3]
    rows = sorted(fitting(given, asked), key=lambda row: row[figure])
    return rows[-1] if "largest" in (found[1], found[4]) else rows[0]


def product_of(given: Given, asked: str) -> int:
    a, b = columns(given, asked)[:2]
    key = next(iter(given["table"][0]))
    return sum(row[a] * row[b] for row in given["table"] if re.search(rf"\b{row[key]}\b", sentence(asked)))


ORACLES: Mapping[str, Mapping[str, Callable[[Given, str], Any]]] = {
    "arithmetic": {
        "total": paid,
        "change": lambda g, q: g["paid"] - paid(g, q),
        "distance": travelled,
        "speed": lambda g, q: travelled(g, q) / sum(every(g, "hours")),
        "wages": earned,
        "mean": lambda g, q: Fraction(sum(g["numbers"]), len(g["numbers"])),
        "missing": lambda g, q: g["goal"] * (len(g["numbers"]) + 1) - sum(g["numbers"]),
    },
    "dates": {
        "nth": nth,
        "nth weekday": lambda g, q: f"{nth(g, q):%A}",
        "rest of month": days_left,
        "month's need": lambda g, q: days_left(g, q) * g["amount"],
        "month's rest": lambda g, q: max(0, days_left(g, q) * g["amount"] - g["have"]),
        "weeks": lambda g, q: span(g, q) // 7,
        "rest": lambda g, q: span(g, q) % 7,
        "working days": workdays_end,
        "calendar days": lambda g, q: (workdays_end(g, q) - date.fromisoformat(g["start"])).days,
        "weekend days": lambda g, q: (workdays_end(g, q) - date.fromisoformat(g["start"])).days - g["days"],
        "arrival": arrival,
        "shift": worked,
        "hours": lambda g, q: worked(g, q) // 60,
        "minutes": lambda g, q: worked(g, q) % 60,
    },
    "sets_graphs": {
        "degree": lambda g, q: len(near(g, g["one"])),
        "changes": lambda g, q: sorted(near(g, g["one"]) & near(g, g["other"])),
        "around": lambda g, q: len((near(g, g["one"]) | near(g, g["other"])) - {g["one"], g["other"]}),
        "schedule": schedule,
        "missing": lacking,
        "missing count": lambda g, q: len(lacking(g, q)),
    },
    "tables": {
        "count": lambda g, q: len(fitting(g, q)),
        "total": summed,
        "difference": difference,
        "which": lambda g, q: next(iter(extreme(g, q).values())),
        "its figure": lambda g, q: extreme(g, q)[columns(g, q)[0]],
        "products": product_of,
    },
    "logs_configs": {
        "most lines": lambda g, q: busiest(g, q)[0],
        "other lines": lambda g, q: sum(busiest(g, q)[1:]),
        "lead": lambda g, q: busiest(g, q)[0] - busiest(g, q)[1],
        "setting": asked_settings,
        "sum of settings": asked_settings,
        "changed": changed,
    },
    "tool_choice": {
        "ready": lambda g, q: sum(complete(g, q)),
        "to ask": lambda g, q: complete(g, q).count(False),
    },
}


@pytest.mark.parametrize("family", ORACLES)
def test_answers_are_what_is_asked_for(family: str) -> None:
    checked = Counter[str]()
    for index in range(ROWS):
        row = make({"families": [family]}, 77, index)
        assert not isinstance(row, Rejected)
        oracle = ORACLES[family].get(row["kind"])
        if oracle is None:
            continue
        found = oracle(row["given"], row["user"])
        assert row["answer"] == show(found.isoformat() if isinstance(found, date) else found), row["user"]
        checked[row["kind"]] += 1
    assert set(checked) == set(ORACLES[family])

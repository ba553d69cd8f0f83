"""What the verifier executes with: held to the standard library, and to nothing outside its language."""

from __future__ import annotations

import calendar
import math
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit_synthesis.traces import calendar_functions as days
from agentkit_synthesis.traces.expressions import NotExecutable, evaluate, literals, names, plain
from agentkit_synthesis.traces.functions import UNITS

dates = st.dates(date(1600, 1, 1), date(2399, 1, 1))


@given(dates, st.integers(-60_000, 60_000))
def test_dates_are_those_of_the_standard_library(day: date, n: int) -> None:
    iso = day.isoformat()
    assert days.add_days(iso, n) == (day + timedelta(n)).isoformat()
    assert days.days_between(iso, (day + timedelta(n)).isoformat()) == n
    assert days.weekday(iso) == f"{day:%A}"
    assert days.month_length(day.year, day.month) == calendar.monthrange(day.year, day.month)[1]
    assert days.is_leap(day.year) == calendar.isleap(day.year)


@given(dates, st.integers(0, 60))
def test_working_days_leave_weekends_out(day: date, n: int) -> None:
    end = date.fromisoformat(days.add_workdays(day.isoformat(), n))
    between = [day + timedelta(k) for k in range(1, (end - day).days + 1)]
    assert sum(one.weekday() < 5 for one in between) == n
    assert not between or end.weekday() < 5


@given(st.integers(0, 1439), st.integers(0, 5000))
def test_clocks_go_round(start: int, n: int) -> None:
    clock = f"{start // 60:02}:{start % 60:02}"
    later = days.add_minutes(clock, n)
    assert days.minutes_between(clock, later) == n % 1440


@given(st.integers(-(10**6), 10**6), st.integers(1, 999), st.integers(0, 4))
def test_rounding_is_half_away_from_zero(over: int, under: int, places: int) -> None:
    found = evaluate(f"rounded({over} / {under}, {places})", {})
    exact = (Decimal(abs(over)) / Decimal(under)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    if Fraction(abs(over), under) * 10**places % 1 != Fraction(1, 2):  # Decimal itself had to round there
        assert Fraction(found) == Fraction(exact) * (1 if over >= 0 else -1)
    assert evaluate(f"ceil({over} / {under})", {}) == math.ceil(Fraction(over, under))


@given(st.floats(0.01, 1e4).map(lambda x: round(x, 2)), st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)))
def test_units_go_there_and_back_or_are_refused(amount: float, one: str, other: str) -> None:
    if UNITS[one][0] != UNITS[other][0]:
        with pytest.raises(NotExecutable, match="different things"):
            evaluate(f'convert({amount}, "{one}", "{other}")', {})
        return
    there = evaluate(f'convert({amount}, "{one}", "{other}")', {})
    assert evaluate(f'convert(x, "{other}", "{one}")', {"x": there}) == evaluate(str(amount), {})


def test_units_are_the_known_ones() -> None:
    assert plain(evaluate('convert(1, "in", "cm")', {})) == 2.54
    assert plain(evaluate('convert(2, "days", "min")', {})) == 2880
    assert plain(evaluate('convert(1.5, "ft", "mm")', {})) == 457.2


lists = st.lists(st.sampled_from("abcdefgh"), max_size=8)


@given(lists, lists)
def test_sets_are_those_of_python(a: list[str], b: list[str]) -> None:
    values = {"a": a, "b": b}
    assert evaluate("union(a, b)", values) == sorted({*a, *b})
    assert evaluate("common(a, b)", values) == sorted(set(a) & set(b)) or not a
    assert evaluate("without(a, b)", values) == sorted(set(a) - set(b))
    assert evaluate("unlike(a, b)", values) == sorted(set(a) ^ set(b))
    assert evaluate("unique(a)", values) == list(dict.fromkeys(a))


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde"), st.integers(1, 9)), min_size=1, max_size=9)
)
def test_distances_are_those_of_all_pairs(edges: list[tuple[str, str, int]]) -> None:
    far: dict[tuple[str, str], float] = {(x, y): 0 if x == y else math.inf for x, y in product("abcde", repeat=2)}
    for a, b, weight in edges:
        far[a, b] = far[b, a] = min(far[a, b], weight) if a != b else 0
    for k, x, y in product("abcde", repeat=3):
        far[x, y] = min(far[x, y], far[x, k] + far[k, y])
    roads = [list(edge) for edge in edges]
    for goal in "abcde":
        if far["a", goal] < math.inf:
            assert evaluate(f'distance(roads, "a", "{goal}")', {"roads": roads}) == far["a", goal]
        else:
            with pytest.raises(NotExecutable):
                evaluate(f'distance(roads, "a", "{goal}")', {"roads": roads})
    reached = sorted(one for one in "abcde" if far["a", one] < math.inf)
    assert evaluate('reach(roads, "a")', {"roads": roads}) == reached


@given(st.integers(-999, 999), st.integers(-999, 999), st.integers(-99, 99))
def test_arithmetic_is_exact(a: int, b: int, c: int) -> None:
    assert evaluate(f"({a}) * ({b}) + ({c})", {}) == a * b + c
    if c:
        assert evaluate(f"({a}) / ({c})", {}) == Fraction(a, c)
        assert evaluate(f"({a}) // ({c})", {}) == a // c
        assert evaluate(f"({a}) % ({c})", {}) == a % c
    assert evaluate("0.1 + 0.2 == 0.3", {}) is True


TABLE = [{"name": "x", "n": 3}, {"name": "y", "n": 5}, {"name": "z", "n": 5}]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('column(where(t, "n", "at least", 5), "name")', ["y", "z"]),
        ('find(t, "name", "y")["n"]', 5),
        ('least(t, "n")["name"]', "x"),
        ('sum(column(t, "n"))', 13),
        ("mean([1, 2, 4])", Fraction(7, 3)),
        ("median([4, 1, 2, 8])", 3),
        ('count("banana", "an")', 2),
        ('with_word(["a ok", "b okay"], "ok")', ["a ok"]),
        ('setting(["a = 1", "a = 2"], "a")', "2"),
        ('setting(["a = 1"], "b")', ""),
        ('first_of(["", "3"])', "3"),
        ('number("250ms")', 250),
        ('"ask" if missing(["a"], []) else "call"', "ask"),
        ("[1, 2, 3][-1]", 3),
        ('"abcdef"[1:4]', "bcd"),
        ("not (1 < 2 <= 2) or False", False),
        ('reversed("abc")', "cba"),
    ],
)
def test_functions_give(expression: str, value: Any) -> None:
    assert evaluate(expression, {"t": TABLE}) == value


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os')", "open('x')", "(1).real", "[x for x in t]", "lambda: 1", "t.append(1)", "2 ** 999", "'a' * 10", "1 / 0",
        "{1: 2}", "f'{t}'", "unknown", "find(t, 'n', 5)", "t[9]", "", "1 +", "max(key=1)", "sum", "9 ** 20 * 9 ** 20", "convert(1, 'm', 'kg')",
        "(" * 300 + "1" + ")" * 300, "add_days('2023-02-29', 1)", "add_minutes('25:00', 1)", "word('a b', 9)", "1 @ 2", "x := 1", "*t",
    ],
)  # fmt: skip
def test_what_is_not_of_the_language_or_has_no_value_is_refused(expression: str) -> None:
    with pytest.raises(NotExecutable):
        evaluate(expression, {"t": TABLE})


def test_names_and_literals_of_an_expression() -> None:
    assert names('sum(column(where(t, "n", "over", s1), "n")) + 3') == {"t", "s1"}
    assert sorted(map(str, literals('a + 3 * 2.5 + len("x")'))) == ["3", "5/2", "x"]

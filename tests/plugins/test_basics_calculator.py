"""The calculator: right, exact, and never guessing."""

from __future__ import annotations

import contextlib
import json
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools import run_call
from agentkit.tools.convert import bare_context
from agentkit.tools.output import cap
from agentkit.types import Done, Effect, Failed, ToolCall, Trust
from agentkit_basics.arithmetic import evaluate, work_out
from agentkit_basics.calculator import calculator
from agentkit_basics.lexer import CalculationError

HANDWRITTEN = Path(__file__).parents[1] / "data" / "handwritten"

RIGHT = r"""
15% of 200|30
200 + 15%|230
50 - 20%|40
15%|0.15
-15%|-0.15
200 * 10%|20
10% + 5%|0.15
200 + 15% of 100|215
100 + 10% + 10%|121
10% of 50% of 200|10
10 / 50% of 4|5
7.5% of 1200?|90
18 percent of $64.50|11.61
sixty percent of 75|45
12.5% of the £3,200|400
40% of my 1150 euro|460
what is 15% of 200?|30
48 times 17|816
1204 minus 387?|817
945 divided by 12.6|75
divide 945 by 12.6|75
add 19.99 and 45.51|65.5
subtract 3 from 10|7
multiply 6 by 7|42
14, 92, 7 and 33|146
sum of 14, 92, 7 and 33|146
sum(14, 92, 7, 33)|146
sum(1,234.5, 6)|1240.5
sum(1,200,300)|501
sum(1;234)|235
sum(3 4 5)|12
sum(2 + 3, 4 * 5)|25
sum(10, 20) * 2|60
(sum(10, 20) + 5) / 5|7
sum(3\n4\n5\n)|12
sum(Amount due\n1200\n349.99\n75.01\n2600\n18.40\n)|4243.4
sum(-4\n22)/2|9
sum(apples: 3, pears: 4)|7
max(3, 100)|100
min(1,2,3)|1
total(3,4)|7
mean(1, 2)|1.5
average of 3, 4 and 5|4
avg(3, 4, 5)|4
median(3, 9, 4, 1)|3.5
count(a 3, b 4)|2
abs(-3)|3
sqrt(16)|4
square root of 16|4
sqrt(2)|1.4142135623731
round(2.5)|3
round(-2.5)|-3
round(3.14159, 2)|3.14
round(1,234.567, 1)|1234.6
2^10|1024
2**-1|0.5
-2^2|-4
(-2)^2|4
2^3^2|512
2^0.5|1.4142135623731
5 squared|25
2 cubed|8
half of 30 + 2|17
10 mod 3|1
-7 mod 3|2
2(3+4)|14
3 x 4|12
3×4÷2|6
5 - -3|8
10 - 4 - 3|3
-(3+4)|-7
37 * 46 - 12|1690
0.1+0.2|0.3
1/3|0.333333333333333
1/3*3|1
2/3 * 10^20|66666666666666666667
100/7|14.2857142857143
1e3 + 1|1001
.5 + .25|0.75
1,234.5 + 1|1235.5
1,234,567|1234567
= 3 + 4 =|7
3 + 4 = ?|7
two hundred and five plus twenty-one|226
2 million / 4|500000
100 - 100.00|0
0 * -5|0
"""

REFUSED = [
    ("", "nothing to work out"),
    ("   ?", "nothing to work out"),
    ("1/0", "divides by zero"),
    ("5 mod 0", "divides by zero"),
    ("1 / (2 - 2)", "divides by zero"),
    ("0^0", "no result"),
    ("0^-1", "no result"),
    ("sqrt(-1)", "no square root"),
    ("(-8)^0.5", "no such root"),
    ("9^9^9^9", "50 digits"),
    ("10^60", "50 digits"),
    ("2^1000000000", "50 digits"),
    ("10^-60", "50 digits"),
    ("1e999999999", "50 digits"),
    ("9" * 60, "50 digits"),
    ("(" * 200 + "1" + ")" * 200, "nested"),
    ("sum(" * 200 + "1" + ")" * 200, "nested"),
    ("-" * 500 + "1", "nested"),
    ("1+" * 3_000 + "1", "parts"),
    ("1" * 300_000, "characters"),
    ("1,5", "unclear"),
    ("15% 200", "unclear"),
    ("3 4", "nothing stands between"),
    ("3 of 12", "after a percentage"),
    ("3\n4", "sum(...)"),
    ("(3", "not closed"),
    ("sum(3", "not closed"),
    ("3)", "not expected"),
    ("3 +", "missing"),
    ("* 3", "missing"),
    ("sum()", "no numbers"),
    ("mean(nothing here)", "no numbers"),
    ("sum(3 + x)", "'x'"),
    ("sqrt(1, 2)", "one number"),
    ("round(1, 2, 3)", "decimals"),
    ("round(1, 99)", "at most 30"),
    ("foo(3)", "'foo'"),
    ("import os", "'import'"),
    ("__import__('os').system('ls')", "no part"),
    ("3 apples", "'apples'"),
]


@pytest.mark.parametrize(("expression", "result"), [line.rsplit("|", 1) for line in RIGHT.strip().splitlines()])
def test_what_people_write(expression: str, result: str) -> None:
    assert work_out(expression.replace("\\n", "\n")) == result


@pytest.mark.parametrize(("expression", "why"), REFUSED, ids=[case[0][:20] for case in REFUSED])
def test_what_cannot_be_worked_out_is_a_sentence(expression: str, why: str) -> None:
    began = time.monotonic()
    with pytest.raises(CalculationError) as caught:
        work_out(expression)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert time.monotonic() - began < 2


def call(expression: str, *results: str) -> Any:
    from dataclasses import replace

    wanted = ToolCall(id="1", tool="calculator", arguments={"expression": expression})
    return run_call(calculator, wanted, replace(bare_context(), results=results))


def test_the_tool() -> None:
    assert call("15% of 200") == Done(text="30")
    assert call("1/0") == Failed(text="that divides by zero, which has no result")
    assert call("") == Failed(text="there is nothing to work out; give a calculation such as 15% of 200")
    rules = calculator.spec.rules
    assert (rules.effect, rules.egress, rules.trust) == (Effect.PURE, False, Trust.TRUSTED)


def test_a_text_with_a_hole_is_not_summed() -> None:
    cut = cap("\n".join(str(n) for n in range(10_000)), 1_000)
    outcome = call("sum($1)", cut)
    assert isinstance(outcome, Failed)
    assert "left out" in outcome.text


SUMS = [json.loads(line) for line in (HANDWRITTEN / "sum_file.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", SUMS, ids=[case["id"] for case in SUMS])
def test_sums_of_files_by_reference(case: dict[str, str]) -> None:
    outcome = call("sum($1)", case["content"])
    assert isinstance(outcome, Done)
    assert Decimal(outcome.text) == Decimal(case["answer"])


NUMBERS = st.integers(-(10**6), 10**6).map(Decimal) | st.decimals(-1000, 1000, places=3)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> tuple[str, Fraction]:
    """Draw a calculation with its exact value."""
    if depth == 0 or draw(st.booleans()):
        number = draw(NUMBERS)
        text = f"{number:f}"
        return (f"({text})" if number < 0 or text.startswith("-") else text), Fraction(number)
    left, a = draw(trees(depth=depth - 1))
    right, b = draw(trees(depth=depth - 1))
    operator = draw(st.sampled_from("+-*"))
    value = {"+": a + b, "-": a - b, "*": a * b}[operator]
    return f"({left} {operator} {right})", value


@given(trees())
def test_sums_and_products_are_exact(tree: tuple[str, Fraction]) -> None:
    text, value = tree
    assert Fraction(work_out(text)) == value


@given(st.lists(st.sampled_from("+-*"), max_size=12), st.data())
def test_precedence_is_pythons(operators: list[str], data: st.DataObject) -> None:
    numbers = [data.draw(st.integers(0, 99)) for _ in range(len(operators) + 1)]
    text = str(numbers[0]) + "".join(f" {sign} {n}" for sign, n in zip(operators, numbers[1:], strict=True))
    assert evaluate(text) == eval(text)


@given(NUMBERS, NUMBERS.filter(bool))
def test_quotients_are_right_to_fifteen_digits(a: Decimal, b: Decimal) -> None:
    exact = Fraction(a) / Fraction(b)
    assert abs(Fraction(work_out(f"({a:f}) / ({b:f})")) - exact) <= abs(exact) / 10**14


@given(st.decimals(0, 500, places=2), st.decimals(-10_000, 10_000, places=2))
def test_percentages(rate: Decimal, amount: Decimal) -> None:
    share = Fraction(amount) * Fraction(rate) / 100
    assert Fraction(work_out(f"{rate:f}% of ({amount:f})")) == share
    assert Fraction(work_out(f"({amount:f}) + {rate:f}%")) == Fraction(amount) + share
    assert Fraction(work_out(f"({amount:f}) - {rate:f}%")) == Fraction(amount) - share


@given(st.lists(NUMBERS, min_size=1, max_size=30))
def test_lists_and_lines_add_up(numbers: list[Decimal]) -> None:
    total = sum(Fraction(n) for n in numbers)
    assert Fraction(work_out(f"sum({', '.join(f'{n:f}' for n in numbers)})")) == total
    if len(numbers) > 1:
        lines = "\n".join(f"{n:f}" for n in numbers)
        assert Fraction(work_out(f"sum({lines})")) == total
        assert Fraction(work_out(f"sum(Total\n{lines}\n)")) == total


@given(st.integers(0, 10**15))
def test_thousands_separators_change_nothing(number: int) -> None:
    assert work_out(f"{number:,}") == str(number)


@given(st.text(max_size=40) | st.text("0123456789+-*/^%().,  sumofx\n", max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    result = None
    with contextlib.suppress(CalculationError):
        result = work_out(text)
    if result is not None:
        assert "e" not in result.lower()
        assert Decimal(result).is_finite()

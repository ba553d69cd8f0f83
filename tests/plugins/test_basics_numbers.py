"""Which digits of a text are numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit_basics.numbers_in_text import numbers_in


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3\n4\n5\n", "3 4 5"),
        ("Amount due\n1200\n349.99", "1200 349.99"),
        ("17\n-4\n\u22129\n+6", "17 -4 -9 6"),
        ("12.50\n$8.99\n€ 103.25\n£40\n-$5\n$-6", "12.50 8.99 103.25 40 -5 -6"),
        ("1,234\n5,678.90", "1234 5678.90"),
        ("1e3\n2.5E-2", "1e3 2.5e-2"),
        ("120,250,300\n5,20,100", "120 250 300 5 20 100"),
        ("3, 4, 5", "3 4 5"),
        ("3 4\t5", "3 4 5"),
        ("(12.50)\n3", "-12.50 3"),
        ("rent: 1200\nfood: 310.5", "1200 310.5"),
        ("item 3: 12.50", "12.50"),
        ("Total: about 5 apples", "5"),
        ("Q3 v2 x86 abc123 3rd 5kg", ""),
        ("2024-01-31 5\n31.01.2024 6\n1/31/2024 7\n2024/01/31 8", "5 6 7 8"),
        ("10:30 4\n2024-01-31T10:30:00Z 5", "4 5"),
        ("January 5, 2024 paid 10\n5 March 7", "10 7"),
        ("192.168.0.1 version 1.2.3 is 4", "4"),
        ("see https://example.com/12/34 and bob7@example.com 9", "9"),
        ("date,what,amount\n2024-01-05,coffee,3.50\n2024-01-06,bread,2", "3.50 2"),
        ("id,amount\n1,20\n2,30", "20 30"),
        ("name;amount\nrent;1,200\nfood;30", "1200 30"),
        ('name,amount\n"rent, flat","1,200"\nfood,30', "1200 30"),
        ("a\tb\n1\t2\n3\t4", "1 2 3 4"),
        ("5.\n6.", "5 6"),
        ("10%\n20 %", "10 20"),
        (".5\n0.25", "0.5 0.25"),
        ("", ""),
        ("nothing", ""),
    ],
)
def test_numbers(text: str, numbers: str) -> None:
    assert numbers_in(text) == [Decimal(number) for number in numbers.split()]


@given(st.lists(st.decimals(-(10**9), 10**9, places=2), max_size=30), st.sampled_from(["\n", ", ", " ", "\t", " ; "]))
def test_every_number_is_found(numbers: list[Decimal], separator: str) -> None:
    assert numbers_in(separator.join(f"{number:f}" for number in numbers)) == numbers


@given(st.lists(st.integers(-(10**9), 10**9), max_size=30))
def test_thousands_in_lines_are_found(numbers: list[int]) -> None:
    assert numbers_in("\n".join(f"{number:,}" for number in numbers)) == numbers


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    assert all(number.is_finite() for number in numbers_in(text))


def test_a_long_text_is_quick() -> None:
    assert len(numbers_in("1,2\n" * 50_000)) == 100_000
    assert numbers_in("1" + ",234" * 20_000 + "x") == []
    assert numbers_in("(" * 50_000 + "-" * 50_000) == []

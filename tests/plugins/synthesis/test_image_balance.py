from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.balance import Table, Values, product_combinations, spelled
from agentkit_synthesis.images.balance import cells as asked_and_spare
from agentkit_synthesis.images.renderer import ATTRIBUTES

VALUES = {"shape": ("circle", "square", "star"), "colour": ("red", "blue")}
PRODUCTS = product_combinations()


def cells(values: Values, possible: Table, count: int, where: list[str] | None = None, *, seed: int) -> Table:
    return asked_and_spare(values, possible, count, where or [], seed=seed)[0]


ALL = np.array([[a, b] for a in range(3) for b in range(2)])


@given(st.integers(1, 400), st.integers(0, 2**32))
def test_every_combination_is_asked_for_equally_often(count: int, seed: int) -> None:
    found = cells(VALUES, ALL, count, seed=seed)
    assert found.shape == (count, 2)
    asked = Counter(map(tuple, found.tolist()))
    least = 0 if count < len(ALL) else min(asked.values())
    assert max(asked.values()) - least <= 1
    assert np.array_equal(found, cells(VALUES, ALL, count, seed=seed))


@given(st.integers(1, 300), st.integers(0, 2**32))
@settings(max_examples=10)
def test_with_more_combinations_than_images_the_first_attribute_is_even(count: int, seed: int) -> None:
    found = cells(ATTRIBUTES, PRODUCTS, count, seed=seed)
    assert len({tuple(row) for row in found.tolist()}) == count  # none twice
    shapes = np.bincount(found[:, 0], minlength=8)
    assert shapes.max() - shapes.min() <= 1
    colours = np.bincount(found[:, 1], minlength=8)
    assert colours.max() - colours.min() <= 0.1 * count + 3


def test_combinations_of_products_do_not_contradict_themselves() -> None:
    every = PRODUCTS
    count, place = list(ATTRIBUTES).index("count"), list(ATTRIBUTES).index("position")
    spread = ATTRIBUTES["position"].index("spread")
    assert len(every) == 8 * 8 * 3 * (5 + 3) * 4 * 3
    assert ((every[:, count] == 0) == (every[:, place] != spread)).all()
    assert len(product_combinations(["shape", "colour"])) == 64


def test_conditions_hold() -> None:
    found = cells(VALUES, ALL, 12, ["shape=circle|star", "colour=red"], seed=0)
    assert Counter(spelled(row, VALUES) for row in found.tolist()) == {
        "shape=circle, colour=red": 6,
        "shape=star, colour=red": 6,
    }


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (["shape=hexagon"], "/where/0: shape has no value 'hexagon'"),
        (["weight=3"], "/where/0: there is no attribute 'weight'"),
        (["circle"], "is no condition"),
        (["shape="], "is no condition"),
        (["shape=circle", "shape=square"], "/where/1: shape cannot be circle and square at once"),
    ],
)
def test_conditions_that_cannot_hold_are_refused(where: list[str], told: str) -> None:
    with pytest.raises(InvalidParams, match=told):
        cells(VALUES, ALL, 12, where, seed=0)


def test_what_no_real_image_is_cannot_be_asked_for() -> None:
    seen = np.array([[0, 0], [1, 1]])  # circles are red, squares are blue
    with pytest.raises(InvalidParams, match="no real image is all of that"):
        cells(VALUES, seen, 12, ["shape=circle", "colour=blue"], seed=0)
    assert {tuple(row) for row in cells(VALUES, seen, 12, seed=0).tolist()} == {(0, 0), (1, 1)}


def test_what_is_not_asked_for_is_spare() -> None:
    found, spare = asked_and_spare(VALUES, ALL, 4, seed=0)
    assert sorted(map(tuple, np.concatenate([found, spare]).tolist())) == sorted(map(tuple, ALL.tolist()))
    assert len(asked_and_spare(VALUES, ALL, 6, seed=0)[1]) == 0

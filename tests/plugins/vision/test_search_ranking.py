"""The best k, and maximal marginal relevance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from agentkit_vision.search.ranking import best_first, mmr, scores, top_k, unit

WHOLE = st.lists(st.integers(-3, 3), max_size=40).map(lambda found: np.array(found, np.float32))


def vectors(seed: int, n: int, dim: int = 8) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(WHOLE, st.integers(-1, 50))
def test_top_k_is_a_stable_sort_cut_short(values: np.ndarray, k: int) -> None:
    expected = sorted(range(len(values)), key=lambda n: (-values[n], n))[: max(0, k)]
    assert top_k(values, k).tolist() == expected


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_scores_are_those_of_a_plain_loop_across_blocks(dtype: str) -> None:
    matrix = vectors(0, 9_000).astype(dtype)
    query, slots = vectors(1, 1)[0], np.random.default_rng(2).permutation(9_000)[:8_500]
    plain = [float(np.dot(matrix[slot].astype(np.float32), query)) for slot in slots]
    np.testing.assert_allclose(scores(matrix, slots, query), plain, atol=1e-6)


@given(st.integers(0, 99), st.integers(2, 200), st.integers(1, 67))
def test_equal_vectors_have_equal_scores_wherever_they_are(seed: int, n: int, dim: int) -> None:
    one = vectors(seed, 1, dim)[0]
    rows = np.repeat(one[None], n, axis=0)
    assert len(set(scores(rows, np.arange(n), vectors(seed + 1, 1, dim)[0]).tolist())) == 1


@given(st.integers(0, 999), st.integers(0, 30), st.integers(0, 40), st.floats(0, 1))
def test_mmr_gives_each_once_and_k_at_most(seed: int, n: int, k: int, trade_off: float) -> None:
    rows = vectors(seed, n) if n else np.zeros((0, 8), np.float32)
    chosen = mmr(rows @ vectors(seed + 1, 1)[0], rows, k, trade_off)
    assert len(chosen) == len(set(chosen.tolist())) == min(k, n)
    assert all(0 <= one < n for one in chosen)


@given(st.integers(0, 999), st.integers(1, 30), st.integers(1, 40))
def test_mmr_of_relevance_alone_is_the_plain_ranking(seed: int, n: int, k: int) -> None:
    rows = vectors(seed, n)
    fits = rows @ vectors(seed + 1, 1)[0]
    assert_array_equal(mmr(fits, rows, k, 1.0), top_k(fits, k))


@given(st.integers(0, 999), st.integers(1, 12), st.floats(0, 1))
def test_mmr_takes_the_best_by_its_definition_each_time(seed: int, n: int, trade_off: float) -> None:
    rows = vectors(seed, n)
    fits = rows @ vectors(seed + 1, 1)[0]
    chosen = mmr(fits, rows, n, trade_off).tolist()
    assert chosen[0] == int(np.argmax(fits))
    for step in range(1, n):
        left = [one for one in range(n) if one not in chosen[:step]]
        worth = {one: trade_off * fits[one] - (1 - trade_off) * max(float(rows[one] @ rows[other]) for other in chosen[:step]) for one in left}  # fmt: skip
        assert worth[chosen[step]] >= max(worth.values()) - 1e-5


def test_mmr_leaves_a_copy_for_last() -> None:
    rows = np.array([[1, 0, 0], [1, 0, 0], [0.8, 0.6, 0], [0.6, 0, 0.8]], np.float32)
    fits = rows @ np.array([1, 0, 0], np.float32)
    assert mmr(fits, rows, 3, 1.0).tolist() == [0, 1, 2]
    assert mmr(fits, rows, 4, 0.4).tolist() == [0, 3, 2, 1]


def test_what_has_no_direction_has_no_unit() -> None:
    assert unit(np.zeros(4, np.float32)) is None
    np.testing.assert_allclose(unit(np.array([3, 4], np.float32)), [0.6, 0.8])


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 2)), max_size=30), st.integers(0, 40))
def test_higher_groups_come_first_and_the_largest_of_each(rows: list[tuple[int, int]], k: int) -> None:
    values, groups = (np.array([row[n] for row in rows], kind) for n, kind in ((0, np.float32), (1, np.int64)))
    wanted = sorted(range(len(rows)), key=lambda n: (-rows[n][1], -rows[n][0], n))[:k]
    assert best_first(values, groups, k).tolist() == wanted

"""Duplicates, leaks, balance and distances: what is planted is found, and figures are those worked out by hand."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit_synthesis.quality.balance import balance
from agentkit_synthesis.quality.diversity import distinct, diversity, self_similarity
from agentkit_synthesis.quality.duplicates import (
    PERMUTATIONS,
    exact_duplicates,
    jaccard,
    near_duplicates,
    signature,
)
from agentkit_synthesis.quality.leakage import Leaks, problem_hash
from agentkit_synthesis.quality.numbers import figure, histogram, quantiles, sampled
from agentkit_synthesis.quality.spaces import Space, precision_recall, spread, vendi
from agentkit_synthesis.quality.words import gram_hashes, shingles, text_hash, token_hashes, tokens


def made(seed: int, words: int = 60) -> str:
    """A text of words that no other seed's text has."""
    rng = random.Random(seed)
    return " ".join(f"w{seed}x{rng.randrange(10**9)}" for _ in range(words))


def test_tokens_are_words_numbers_and_single_signs() -> None:
    assert tokens("It's 3.5 %, Ärger!") == ["it", "'", "s", "3", ".", "5", "%", ",", "ärger", "!"]


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 6))
def test_equal_grams_have_equal_hashes_and_others_do_not(words: list[str], n: int) -> None:
    found = gram_hashes(token_hashes(words), n).tolist()
    grams = [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]
    assert len(found) == len(grams)
    assert len(set(found)) == len(set(grams))
    assert len(set(zip(found, grams, strict=True))) == len(set(grams))


@given(st.lists(st.integers(0, 8), max_size=40))
def test_exact_duplicates_are_rows_minus_different_rows(values: list[int]) -> None:
    found = exact_duplicates(np.array(values, np.uint64))
    assert found.sum() == len(values) - len(set(values))
    assert [value for value, twice in zip(values, found, strict=True) if not twice] == list(dict.fromkeys(values))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 6), st.integers(0, 10**6))
def test_planted_near_duplicates_are_found_with_exactly_their_number(planted: int, seed: int) -> None:
    rng = random.Random(seed)
    texts = [made(seed * 100 + n) for n in range(12)]
    for n in range(planted):
        words = texts[n].split()
        words[-1] = "changed"  # 56 5-grams, one of them another: Jaccard 55 / 57
        texts.append(" ".join(words))
    order = rng.sample(range(len(texts)), len(texts))
    found = near_duplicates([texts[place] for place in order], threshold=0.8)
    assert found.redundant.sum() == planted
    for earlier, later, alike in found.pairs:
        assert alike == pytest.approx(55 / 57, abs=1e-4)
        assert abs(order[earlier] - order[later]) == 12


def test_texts_below_the_threshold_are_no_near_duplicates() -> None:
    first = made(1)
    half = " ".join([*first.split()[:30], *made(2).split()[:30]])
    assert jaccard(shingles(first, 5), shingles(half, 5)) == pytest.approx(26 / 86)
    assert not near_duplicates([first, half, "", ""], threshold=0.8).redundant.any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 200), st.integers(1, 200), st.integers(1, 200), st.integers(0, 10**6))
def test_minhash_is_within_its_error_of_the_exact_similarity(both: int, one: int, other: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = np.unique(rng.integers(0, 2**63, size=both + one + other, dtype=np.uint64))
    first, second = np.sort(drawn[: both + one]), np.sort(np.concatenate([drawn[:both], drawn[both + one :]]))
    exact = jaccard(first, second)
    error = math.sqrt(max(exact * (1 - exact), 1 / PERMUTATIONS) / PERMUTATIONS)
    assert signature(first).jaccard(signature(second)) == pytest.approx(exact, abs=5 * error)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 10**6))
def test_planted_leaks_are_found_with_exactly_their_number(long: int, short: int, seed: int) -> None:
    train = [made(seed * 100 + n) for n in range(10)]
    test = [made(seed * 100 + 50 + n) for n in range(8)]
    for n in range(long):
        test.append(f"{made(seed * 100 + 80 + n)} {' '.join(train[n].split()[10:23])}")  # 13 in a row
    for n in range(short):
        test.append(f"{made(seed * 100 + 90 + n)} {' '.join(train[n].split()[30:42])}")  # 12: one too few
    found = {length: Leaks(test, length) for length in (13, 8)}
    for leaks in found.values():
        leaks.pass_by(train[:5])
        leaks.pass_by(train[5:])
    assert found[13].rows() == list(range(8, 8 + long))
    assert found[8].rows() == list(range(8, 8 + long + short))


def test_rows_too_short_to_leak_are_counted() -> None:
    leaks = Leaks(["one two three", made(1)], 13)
    leaks.pass_by(["one two three"])
    told = leaks.told()
    assert (told["rows"], told["of"], told["too_short"]) == (0, 2, 1)
    assert told["share"] == {"too_few": 2, "wanted": 20}


def test_problems_are_the_same_whatever_their_spaces_and_capitals() -> None:
    assert problem_hash("What is  2+2?") == problem_hash("what is 2 + 2?") != problem_hash("what is 2 + 3?")


def test_balance_by_hand() -> None:
    found = balance({"a": 30, "b": 10})
    assert found["entropy"] == pytest.approx(0.811278, abs=1e-6)  # -(3/4 log2 3/4 + 1/4 log2 1/4)
    assert found["evenness"] == found["entropy"]  # log2 2 = 1
    assert found["chi_square"]["statistic"] == 10.0  # (30 - 20)^2 / 20 + (10 - 20)^2 / 20
    assert found["chi_square"]["p"] == pytest.approx(math.erfc(math.sqrt(5)), rel=1e-9)  # one degree of freedom


@given(st.integers(1, 30), st.integers(2, 12))
def test_equal_counts_are_perfectly_even(each: int, labels: int) -> None:
    found = balance({str(n): each for n in range(labels)})
    assert found["evenness"] == pytest.approx(1.0)
    assert found["chi_square"] == ({"too_few": each * labels, "wanted": 5 * labels} if each < 5 else {"statistic": 0.0, "freedom": labels - 1, "p": 1.0})  # fmt: skip


def test_one_label_has_no_chi_square_and_no_evenness() -> None:
    assert balance({"only": 9})["evenness"] == 0.0
    assert balance({"only": 9})["chi_square"] == {"one_label": True}
    assert balance({})["counts"] == {}


def test_distinct_by_hand() -> None:
    texts = [tokens("a b a b"), tokens("a b c")]
    assert distinct(texts, 1) == pytest.approx(3 / 7)
    assert distinct(texts, 2) == pytest.approx(3 / 5)  # ab ba ab, ab bc
    assert distinct(texts, 3) == pytest.approx(3 / 3)  # aba bab, abc
    assert distinct(texts, 4) == 1.0
    assert distinct([], 1) == 0.0


def test_self_similarity_is_one_of_equal_texts_and_zero_of_strangers() -> None:
    assert self_similarity([made(1)] * 5, seed=0) == 1.0
    assert self_similarity([made(n) for n in range(5)], seed=0) == 0.0


def test_few_texts_have_no_figure() -> None:
    assert diversity(["a b c"] * 19, seed=0)["distinct_2"] == {"too_few": 19, "wanted": 20}
    assert diversity(["a b c"] * 20, seed=0)["distinct_2"] == pytest.approx(2 / 40)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=60))
def test_quantiles_and_histogram_are_of_all_values(values: list[int]) -> None:
    counts = Counter(values)
    found = quantiles(counts)
    assert (found["least"], found["most"]) == (min(values), max(values))
    assert found["mean"] == pytest.approx(float(np.mean(values)), abs=0.006)
    assert found["median"] == sorted(values)[(len(values) + 1) // 2 - 1]
    bars = histogram(counts)
    assert len(bars) <= 20
    assert [bar["count"] for bar in bars] == [
        sum(bar["from"] <= value <= bar["to"] for value in values) for bar in bars
    ]
    assert sum(bar["count"] for bar in bars) == len(values)


def test_a_sample_has_every_row_with_the_same_chance() -> None:
    seen: Counter[int] = Counter()
    for seed in range(600):
        rng, kept = np.random.default_rng(seed), list[int]()
        for n in range(12):
            sampled(rng, kept, n, n, 3)
        assert len(set(kept)) == 3
        seen.update(kept)
    statistic = sum((seen[n] - 150) ** 2 / 150 for n in range(12))
    assert statistic < 31.3  # 99.9 % of chi-square with 11 degrees of freedom
    assert figure(0.5, 2, 3) == {"too_few": 2, "wanted": 3}


def test_effective_number_of_images_is_one_of_copies_and_n_of_strangers() -> None:
    apart = np.eye(6) * 1e3
    assert vendi(np.zeros((6, 2))) == pytest.approx(1.0)
    assert vendi(apart) == pytest.approx(6.0)
    assert vendi(np.repeat(apart[:3], 2, axis=0)) == pytest.approx(3.0)
    assert spread(apart[:2]) == pytest.approx(1e3 * math.sqrt(2))


def test_precision_and_recall_know_what_is_missing_and_what_is_strange() -> None:
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(0, 1, (60, 2)), rng.normal(50, 1, (60, 2))])
    half = np.concatenate([rng.normal(0, 1, (120, 2))])
    strange = rng.normal(-80, 1, (120, 2))
    precision, recall = precision_recall(real, half)
    assert precision > 0.85  # all of it looks real
    assert 0.4 < recall < 0.6  # one of two clusters was made
    assert precision_recall(real, strange) == (0.0, 0.0)
    assert precision_recall(real, real) == (1.0, 1.0)


def test_a_space_has_unit_variance_and_keeps_distances() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.random((80, 4, 4, 1), np.float32)
    space = Space.of(pixels)
    features = space.features(pixels)
    assert features.var(0, ddof=1).sum() == pytest.approx(1.0)
    assert space.explained == pytest.approx(1.0)
    flat = pixels.reshape(80, -1).astype(float)
    ratio = np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(features[0] - features[1])
    assert np.linalg.norm(flat[5] - flat[9]) / np.linalg.norm(features[5] - features[9]) == pytest.approx(ratio)


def test_hashes_are_the_same_in_every_process() -> None:
    assert text_hash("a") == int.from_bytes(bytes.fromhex("40f89e395b66422f"), "little")

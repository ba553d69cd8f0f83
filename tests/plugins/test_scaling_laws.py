"""Laws and allocations against published figures and against the identities that hold at an optimum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import UsageError
from agentkit_training.scaling import PUBLISHED, Chinchilla, DataConstrained, Kaplan, Law, allocate, predict, published

EPOCH, HOFFMANN, KAPLAN, MUENNIGHOFF = PUBLISHED.values()

budgets = st.floats(1e15, 1e28)
chinchillas = st.builds(
    Chinchilla,
    E=st.floats(0.1, 5),
    A=st.floats(1, 1e4),
    B=st.floats(1, 1e4),
    alpha=st.floats(0.1, 0.9),
    beta=st.floats(0.1, 0.9),
)
kaplans = st.builds(
    Kaplan,
    N_c=st.floats(1e10, 1e16),
    D_c=st.floats(1e10, 1e16),
    alpha_N=st.floats(0.03, 0.5),
    alpha_D=st.floats(0.03, 0.5),
)
constrained = st.builds(
    lambda law, r_d, r_n: DataConstrained(**law.constants(), R_D=r_d, R_N=r_n),
    chinchillas,
    st.floats(1, 50),
    st.floats(1, 50),
)
laws = st.one_of(chinchillas, kaplans, constrained)


def test_optimum_of_the_replication_at_chinchilla_s_budget() -> None:
    best = allocate(5.76e23, law=EPOCH)
    assert best.params == pytest.approx(72.3e9, rel=1e-3)  # 72.25e9: the published constants are rounded
    assert f"{best.tokens / 1e12:.3f}" == "1.329"
    assert f"{best.loss:.4f}" == "1.9744"
    assert f"{best.tokens_per_param:.1f}" == "18.4"


def test_optimum_of_hoffmann_s_rounded_constants() -> None:
    best = allocate(5.76e23, law=HOFFMANN)
    assert f"{best.params / 1e9:.1f}" == "32.2"
    assert f"{best.tokens / 1e12:.2f}" == "2.98"


def test_chinchilla_beats_gopher() -> None:
    assert f"{EPOCH.predict(70e9, 1.4e12):.4f}" == "1.9739"
    assert f"{EPOCH.predict(280e9, 300e9):.4f}" == "1.9996"
    assert f"{allocate(1e19, law=EPOCH).tokens_per_param:.2f}" == "24.25"


def test_a_fifth_more_compute_is_a_tenth_more_of_both() -> None:
    before, after = allocate(1e22, law=EPOCH), allocate(1.2e22, law=EPOCH)
    assert f"{after.params / before.params:.3f}" == "1.098"
    assert f"{after.tokens / before.tokens:.3f}" == "1.093"


def test_repeated_tokens_as_in_the_authors_code() -> None:
    assert MUENNIGHOFF.predict(6.34e9, 242e9, 25e9) == pytest.approx(2.2256440889984477, abs=1e-9)
    assert MUENNIGHOFF.predict(8.67e9, 178e9, 25e9) == pytest.approx(2.2269634075087867, abs=1e-9)


def test_kaplan_s_limits_are_its_two_power_laws() -> None:
    assert isinstance(KAPLAN, Kaplan)
    assert KAPLAN.predict(1e9, 1e40) == pytest.approx(KAPLAN.of_params(1e9), rel=1e-9)
    assert KAPLAN.predict(1e40, 1e9) == pytest.approx(KAPLAN.of_tokens(1e9), rel=1e-9)
    assert KAPLAN.of_params(1e9) == pytest.approx((6.4e13 / 1e9) ** 0.076)
    direct = ((6.4e13 / 1e9) ** (0.076 / 0.103) + 1.8e13 / 1e10) ** 0.103
    assert KAPLAN.predict(1e9, 1e10) == pytest.approx(direct, rel=1e-12)


@given(chinchillas, budgets)
def test_at_the_optimum_both_terms_fall_equally_fast(law: Chinchilla, flops: float) -> None:
    params, tokens = law.optimum(flops)
    assert 6 * params * tokens == pytest.approx(flops, rel=1e-12)
    model = law.alpha * law.A / params**law.alpha
    assert model == pytest.approx(law.beta * law.B / tokens**law.beta, rel=1e-9)


@given(laws, budgets, st.floats(-2, 2), st.floats(1e-4, 1))
def test_nothing_else_with_that_budget_is_better(law: Law, flops: float, aside: float, share: float) -> None:
    unique = share * law.optimum(flops)[1] if law.repeats else None
    params, tokens = law.optimum(flops, unique)
    assert 6 * params * tokens == pytest.approx(flops, rel=1e-12)
    moved = params * math.exp(aside)
    other = law.predict(moved, flops / (6 * moved), unique)
    assert law.predict(params, tokens, unique) <= other * (1 + 1e-12)


@given(laws, st.floats(1e6, 1e12), st.floats(1e8, 1e14), st.floats(1.01, 10))
def test_more_parameters_and_more_fresh_tokens_are_better(law: Law, params: float, tokens: float, more: float) -> None:
    here = law.predict(params, tokens)
    assert law.predict(params * more, tokens) <= here
    assert law.predict(params, tokens * more) <= here
    small, large = law.predict(1e6, 1e8), law.predict(1e12, 1e14)
    assert small > large


@given(constrained, st.floats(1e7, 1e11), st.floats(1e8, 1e12), st.floats(1.01, 40))
def test_repeats_are_worth_something_and_less_than_fresh_tokens(
    law: DataConstrained, params: float, unique: float, epochs: float
) -> None:
    once, often = law.predict(params, unique, unique), law.predict(params, unique * epochs, unique)
    fresh = law.fresh().predict(params, unique * epochs)
    assert fresh <= often * (1 + 1e-12)
    assert often <= once
    assert law.predict(params, unique, 3 * unique) == law.predict(params, unique)


@given(constrained, budgets)
def test_without_repeats_the_optimum_is_chinchilla_s(law: DataConstrained, flops: float) -> None:
    params, tokens = law.optimum(flops)
    assert (params, tokens) == law.fresh().optimum(flops)
    assert law.predict(params, tokens) == pytest.approx(law.fresh().predict(params, tokens), rel=1e-9)
    unique = tokens * (1 - 1e-9)  # a few are repeated, so that the best is searched for
    searched = law.predict(*law.optimum(flops, unique), unique)
    assert searched == pytest.approx(law.predict(params, tokens), rel=1e-9)


def test_too_few_unique_tokens_ask_for_smaller_models_and_more_epochs() -> None:
    flops = 6 * 6.34e9 * 242e9
    free, bound = allocate(flops, law=MUENNIGHOFF), allocate(flops, law=MUENNIGHOFF, unique_tokens=25e9)
    assert bound.params < free.params
    assert bound.loss > free.loss
    assert bound.loss < MUENNIGHOFF.predict(6.34e9, 242e9, 25e9)
    assert bound.epochs == pytest.approx(bound.tokens / 25e9)


def test_many_models_at_once() -> None:
    sizes, tokens = np.geomspace(1e7, 1e11, 5), np.geomspace(1e9, 1e13, 5)
    for law in PUBLISHED.values():
        alone = [law.predict(n, d) for n, d in zip(sizes, tokens, strict=True)]
        assert law.losses(sizes, tokens) == pytest.approx(alone, rel=1e-14)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_impossible_numbers_are_refused(value: float) -> None:
    for law in PUBLISHED.values():
        with pytest.raises(UsageError, match="params is"):
            predict(law, value, 1e9)
        with pytest.raises(UsageError, match="tokens is"):
            predict(law, 1e9, value)
        with pytest.raises(UsageError, match="flops is"):
            allocate(value, law=law)
    with pytest.raises(UsageError, match="unique tokens is"):
        predict(MUENNIGHOFF, 1e9, 1e9, value)
    with pytest.raises(UsageError, match="A is"):
        Chinchilla(1.8, value, 2000, 0.3, 0.3)


@pytest.mark.parametrize("law", [EPOCH, KAPLAN])
def test_unique_tokens_need_a_law_that_knows_them(law: Law) -> None:
    with pytest.raises(UsageError, match="says nothing of repeated tokens"):
        predict(law, 1e9, 1e10, 1e9)
    with pytest.raises(UsageError, match="says nothing of repeated tokens"):
        allocate(1e20, law=law, unique_tokens=1e9)


def test_unknown_law_names_the_known() -> None:
    with pytest.raises(UsageError, match="epoch, hoffmann, kaplan, muennighoff"):
        published("chinchila")

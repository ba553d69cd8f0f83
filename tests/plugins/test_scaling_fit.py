"""The solver finds the laws that runs were made with, and says how sure it is."""

from __future__ import annotations

import math
import random
import time
from pathlib import Path

import numpy as np
import pytest

from agentkit.errors import UsageError
from agentkit_training.scaling import PUBLISHED, Chinchilla, Fit, Run, allocate, fit, load_fit, predict, save_fit
from agentkit_training.scaling.families import FAMILIES, Data, Family
from agentkit_training.scaling.fitting import columns
from agentkit_training.scaling.law import Array
from agentkit_training.scaling.solver import DELTA, huber, objective, polish, solve
from tests.plugins.scaling_runs import BUDGETS, made

EPOCH = PUBLISHED["epoch"]
UNIQUE = {"muennighoff": 2e9}  # tokens, for the law that knows repeats


@pytest.fixture(scope="module")
def noisy() -> Fit:
    """A fit to 45 runs of the replicated law with 0.3 % noise."""
    return fit(made(EPOCH, noise=0.003))


def theta_of(name: str) -> Array:
    return np.log(list(PUBLISHED[name].constants().values()))


def problem(name: str, **how: float) -> tuple[Family, Data]:
    law = PUBLISHED[name]
    return FAMILIES[law.form], columns(made(law, unique_tokens=UNIQUE.get(name), **how))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PUBLISHED)
def test_log_loss_is_the_law_s(name: str) -> None:
    family, data = problem(name)
    expected = PUBLISHED[name].losses(np.exp(data.params), np.exp(data.tokens), np.exp(data.unique))
    assert family.log_loss(theta_of(name), data)[0] == pytest.approx(np.log(expected), abs=1e-13)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PUBLISHED)
def test_gradients_agree_with_finite_differences(name: str, seed: int) -> None:
    family, data = problem(name)
    theta = theta_of(name) + 0.02 * np.random.default_rng(seed).standard_normal(len(family.names))
    steps = 1e-6 * np.eye(len(theta))
    apart = [(family.log_loss(theta + step, data)[0] - family.log_loss(theta - step, data)[0]) / 2e-6 for step in steps]
    assert family.log_loss(theta, data)[1] == pytest.approx(np.stack(apart, axis=1), abs=1e-7)
    value = objective(family, data, np.ones(len(data.loss)), DELTA)
    total, slope = value(theta)
    assert slope == pytest.approx(
        [(value(theta + step)[0] - value(theta - step)[0]) / 2e-6 for step in steps], rel=1e-4, abs=1e-6 * total
    )


def test_huber_loss() -> None:
    assert huber(np.array([0.0, 5e-4, -1e-3, 3e-3])) == pytest.approx([0, 1.25e-7, 5e-7, 2.5e-6])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_constants_are_recovered_exactly_from_clean_runs(name: str) -> None:
    law = PUBLISHED[name]
    found = fit(made(law, unique_tokens=UNIQUE.get(name)), form=law.form, bootstrap=0)
    assert found.law.constants() == pytest.approx(law.constants(), rel=1e-4)
    assert found.objective < 1e-15
    assert found.warnings == ()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["epoch", "hoffmann"])
def test_published_constants_are_recovered_from_noisy_runs(name: str, seed: int) -> None:
    law = PUBLISHED[name]
    assert isinstance(law, Chinchilla)
    found = fit(made(law, noise=0.003, seed=seed), bootstrap=0).law
    assert isinstance(found, Chinchilla)
    assert found.alpha == pytest.approx(law.alpha, abs=0.012)
    assert found.beta == pytest.approx(law.beta, abs=0.012)
    assert pytest.approx(law.E, abs=0.025) == found.E
    share = found.beta / (found.alpha + found.beta)
    assert share == pytest.approx(law.beta / (law.alpha + law.beta), abs=0.01)
    assert found.predict(70e9, 1.4e12) == pytest.approx(law.predict(70e9, 1.4e12), rel=0.01)


def test_no_start_of_a_wide_grid_finds_a_lower_minimum() -> None:
    family, data = problem("epoch", noise=0.003)
    weights = np.ones(len(data.loss))
    value = objective(family, data, weights, DELTA)
    best = value(solve(family, data)[0])[0]
    starts = [
        np.array([e, a, b, math.log(alpha), math.log(beta)])
        for e in (0.0, 1.0)
        for a in (3.0, 8.0)
        for b in (3.0, 10.0)
        for alpha in (0.15, 0.6)
        for beta in (0.15, 0.6)
    ]
    ends = [value(polish(family, data, start, weights=weights))[0] for start in starts]
    assert min(ends) >= best * (1 - 1e-9)
    assert min(ends) == pytest.approx(best, rel=1e-6)


def test_the_order_of_runs_means_nothing(noisy: Fit) -> None:
    runs = made(EPOCH, noise=0.003)
    random.Random(1).shuffle(runs)
    assert fit(runs) == noisy


def test_the_seed_decides_the_samples_alone(noisy: Fit) -> None:
    other = fit(made(EPOCH, noise=0.003), seed=1)
    assert other.law == noisy.law
    assert other.samples != noisy.samples


def test_intervals_cover_the_truth() -> None:
    """95 % intervals of ten data sets: of 50 a few may miss."""
    covered = 0
    for seed in range(10):
        found = fit(made(EPOCH, noise=0.003, seed=100 + seed), bootstrap=60)
        for name, truth in EPOCH.constants().items():
            interval = found.estimates()[name].interval
            assert interval is not None
            covered += interval[0] <= truth <= interval[1]
    assert covered >= 42


def test_standard_errors_are_those_of_repeated_experiments(noisy: Fit) -> None:
    alphas = [fit(made(EPOCH, noise=0.003, seed=seed), bootstrap=0).law.constants()["alpha"] for seed in range(20)]
    said = noisy.estimates()["alpha"].standard_error
    assert said is not None
    assert 0.5 < said / np.std(alphas, ddof=1) < 2


def test_covariance_and_residuals(noisy: Fit) -> None:
    covariance = noisy.covariance()
    assert covariance is not None
    errors = [item.standard_error for item in noisy.estimates().values()]
    assert np.sqrt(np.diag(covariance)) == pytest.approx(errors)
    assert np.corrcoef(np.array(noisy.samples)[:, [1, 3]].T)[0, 1] > 0.9  # A and alpha move together
    expected = [math.log(run.loss / noisy.law.predict(run.params, run.tokens)) for run in noisy.runs]
    assert noisy.residuals == pytest.approx(expected, abs=1e-12)
    assert noisy.objective == pytest.approx(float(huber(np.array(expected)).sum()))
    assert 0.002 < np.std(noisy.residuals) < 0.004


def test_outliers_are_dropped_by_loss_and_would_have_mattered() -> None:
    runs = made(EPOCH, noise=0.003)
    off = [Run(1e7 * n, 1e8, 9.0 + n) for n in (1, 2, 3, 4, 5)]
    clean, dropped = fit(runs, bootstrap=0), fit([*runs, *off], drop_outliers=5, bootstrap=0)
    assert dropped.law == clean.law
    assert sorted(run.loss for run in dropped.dropped) == [10, 11, 12, 13, 14]
    spoilt = fit([*runs, *off], bootstrap=0).law.constants()["beta"]
    assert abs(spoilt - 0.3658) > 5 * abs(clean.law.constants()["beta"] - 0.3658)


def test_the_largest_budget_is_foretold_from_the_others(noisy: Fit) -> None:
    ahead = noisy.extrapolation
    assert ahead is not None
    assert (ahead.fitted_runs, ahead.held_out_runs) == (36, 9)
    assert ahead.factor == pytest.approx(10)
    assert abs(ahead.mean_error) < 0.005
    assert abs(ahead.mean_error) <= ahead.largest_error < 0.02


def test_a_wrong_form_foretells_worse(noisy: Fit) -> None:
    wrong = fit(made(EPOCH, noise=0.003), form="kaplan", bootstrap=0)
    assert wrong.extrapolation is not None
    assert noisy.extrapolation is not None
    assert wrong.objective > 10 * noisy.objective
    assert abs(wrong.extrapolation.mean_error) > 3 * abs(noisy.extrapolation.mean_error)


def test_less_than_a_decade_is_warned_of() -> None:
    narrow = [Run(n, d, EPOCH.predict(n, d)) for n in np.geomspace(1e9, 5e9, 5) for d in np.geomspace(1e10, 9e10, 5)]
    found = fit(narrow, bootstrap=0)
    assert [warning.split(",")[0] for warning in found.warnings[:2]] == [
        "N spans a factor of 5.0",
        "D spans a factor of 9.0",
    ]


def test_a_constant_at_its_bound_is_warned_of() -> None:
    flat = [
        Run(n, d, 3.0 * (n / 1e7) ** -0.004 + 1e3 * d**-0.4)
        for n in np.geomspace(1e7, 1e10, 6)
        for d in (1e9, 1e10, 1e11)
    ]
    said = " ".join(fit(flat, bootstrap=0).warnings)
    assert "alpha is at its lower bound, 0.01" in said


def test_a_floor_of_zero_is_warned_of() -> None:
    floorless = [
        Run(n, d, 50 * n**-0.2 + 900 * d**-0.3) for n in np.geomspace(1e7, 1e10, 6) for d in np.geomspace(1e9, 1e12, 5)
    ]
    found = fit(floorless, bootstrap=0)
    assert any(warning.startswith("E is at its bound") for warning in found.warnings)
    assert found.law.constants()["alpha"] == pytest.approx(0.2, rel=1e-2)


@pytest.mark.parametrize("form", FAMILIES)
@pytest.mark.parametrize("case", ["constant", "rising", "random", "wild", "huge"])
def test_runs_that_follow_no_law_are_fitted_with_a_warning(form: str, case: str) -> None:
    rng = np.random.default_rng(0)
    losses = {
        "constant": lambda n: 3.0,
        "rising": lambda n: n**0.1,
        "random": lambda n: math.exp(rng.standard_normal()),
        "wild": lambda n: math.exp(5 * rng.standard_normal()),
        "huge": lambda n: 1e9 * (1 + n**-0.2),
    }
    grid = [(n, d) for n in np.geomspace(1e7, 1e10, 5) for d in np.geomspace(1e9, 1e12, 4)]
    found = fit([Run(n, d, losses[case](n), min(d, 2e10)) for n, d in grid], form=form, bootstrap=0)
    assert any("bound" in warning for warning in found.warnings)
    assert math.isfinite(found.law.predict(1e9, 1e10))


def test_repeats_that_a_form_does_not_know_are_warned_of() -> None:
    runs = made(PUBLISHED["muennighoff"], unique_tokens=2e9)
    assert any("repeat tokens" in warning for warning in fit(runs, bootstrap=0).warnings)


def test_predictions_far_outside_are_warned_of(noisy: Fit) -> None:
    assert predict(noisy, 1e9, 2e10).warnings == ()
    assert [text[:2] for text in predict(noisy, 1e13, 1e15).warnings] == ["N ", "D "]
    assert allocate(5e22, law=noisy).warnings == ()
    assert allocate(2e23, law=noisy).warnings[0].startswith("C = 2e+23 is 20 times outside")


def test_answers_of_a_fit_have_intervals(noisy: Fit) -> None:
    found = predict(noisy, 1e9, 2e10)
    assert found.interval is not None
    assert found.interval[0] <= EPOCH.predict(1e9, 2e10) <= found.interval[1]
    best, truth = allocate(1e21, law=noisy), allocate(1e21, law=EPOCH)
    for name in ("params", "tokens", "loss"):
        low, high = best.intervals[name]
        assert low <= getattr(best, name) <= high
        assert low <= getattr(truth, name) <= high


@pytest.mark.parametrize(
    ("runs", "how", "said"),
    [
        (made(EPOCH, sizes=1), {}, "5 runs are too few"),
        ([Run(1e9, d, EPOCH.predict(1e9, d)) for d in np.geomspace(1e9, 1e12, 8)], {}, "1 different params"),
        ([Run(n, 1e9, EPOCH.predict(n, 1e9)) for n in np.geomspace(1e7, 1e9, 8)], {}, "1 different tokens"),
        (made(EPOCH), {"form": "data_constrained"}, "no run repeats tokens"),
        (made(EPOCH), {"form": "chinchila"}, "no form 'chinchila'"),
        (made(EPOCH), {"bootstrap": 5}, "at least 20"),
        (made(EPOCH), {"delta": 0.0}, "delta is 0"),
        (made(EPOCH), {"drop_outliers": -1}, "drop_outliers is -1"),
        (made(EPOCH), {"drop_outliers": 40}, "5 runs are too few"),
    ],
)
def test_what_cannot_be_fitted_is_refused(runs: list[Run], how: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fit(runs, **how)  # type: ignore[arg-type]


def test_a_saved_fit_is_the_same(noisy: Fit, tmp_path: Path) -> None:
    save_fit(noisy, tmp_path / "fit.json")
    assert load_fit(tmp_path / "fit.json") == noisy
    (tmp_path / "fit.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="not a fit of this version"):
        load_fit(tmp_path / "fit.json")
    (tmp_path / "fit.json").write_text('{"agentkit_scaling_fit": 1}', encoding="utf-8")
    with pytest.raises(UsageError, match="damaged fit"):
        load_fit(tmp_path / "fit.json")


def test_it_is_quick() -> None:
    """Generous, since machines are shared: on an idle one both take a fraction."""
    runs = made(EPOCH, noise=0.003, budgets=BUDGETS * 2, sizes=24)
    began = time.monotonic()
    fit(runs, bootstrap=0)
    alone = time.monotonic() - began
    fit(runs, bootstrap=100)
    assert alone < 5
    assert time.monotonic() - began - alone < 30

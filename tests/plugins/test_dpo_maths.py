"""DPO as TRL's trainer computes it: every loss, its gradient, and the optimum that it has.

The oracles are independent of TRL: a table worked out beforehand, `by_hand` (numpy, from the papers), log-probabilities of
sequences that were never padded, and closed forms. No test needs to see a model improve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit_training.finetune import params
from tests.plugins.dpo_by_hand import (
    BETA,
    LOSSES,
    ROWS,
    TABLE,
    TRLS_OLD_NAME,
    Build,
    Pairs,
    batch,
    by_hand,
    feed,
    quiet,
    sums,
    tiny,
    torch,
)

pytestmark = TRLS_OLD_NAME


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    with quiet():
        yield Build(tmp_path_factory.mktemp("trl"))


def test_every_loss_of_trl_is_in_the_table() -> None:
    assert set(LOSSES) == set(get_args(params.Loss))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_formulas_by_hand_give_the_table(loss: str) -> None:
    each, mean = LOSSES[loss]
    assert [by_hand(loss, TABLE.one(n))[0] for n in range(3)] == pytest.approx(each, abs=1e-6)
    assert by_hand(loss, TABLE).mean() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_trl_gives_the_table(build: Build, loss: str) -> None:
    trainer, (each, mean) = build.of_loss(loss), LOSSES[loss]
    assert [feed(trainer, TABLE.one(n)).item() for n in range(3)] == pytest.approx(each, abs=1e-6)
    assert feed(trainer, TABLE).item() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_before_the_first_step_the_loss_is_that_of_no_difference(build: Build, loss: str) -> None:
    trainer = build.of_loss(loss)
    wanted = LOSSES[loss][0][2]
    if loss == "sft":
        logps, lengths = sums(trainer.model, ROWS, "chosen")
        wanted = -sum(one.item() for one in logps) / sum(lengths)
    assert trainer.compute_loss(trainer.model, batch(trainer)).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_real_batch_has_the_loss_worked_out_by_hand(build: Build, loss: str) -> None:
    policy, reference = tiny(1), tiny(2)
    logps, lengths = {}, {}
    with torch.no_grad():
        for name in ("chosen", "rejected"):
            for model, prefix in ((policy, ""), (reference, "ref_")):
                found, lengths[f"{name}_tokens"] = sums(model, ROWS, name)
                logps[prefix + name] = torch.stack(found).numpy()
    wanted = by_hand(loss, Pairs(**logps, **{name: np.array(one) for name, one in lengths.items()})).mean()
    trainer = build.of_loss(loss, policy, ref_model=reference)
    assert trainer.compute_loss(trainer.model, batch(trainer)).item() == pytest.approx(wanted, rel=1e-5)


def test_several_losses_are_added_up_by_their_weights(build: Build) -> None:
    both = feed(build(loss_type=["sigmoid", "sft"], loss_weights=[0.5, 2.0]), TABLE).item()
    assert both == pytest.approx(0.5 * LOSSES["sigmoid"][1] + 2 * LOSSES["sft"][1], abs=1e-6)


def test_sigmoid_does_not_read_label_smoothing(build: Build) -> None:
    smoothed = 0.9 * by_hand("sigmoid", TABLE.one(0)) + 0.1 * np.logaddexp(0, 0.2)  # cDPO, which TRL has not
    assert smoothed[0] == pytest.approx(0.618139, abs=1e-6)
    assert feed(build(label_smoothing=0.1), TABLE.one(0)).item() == pytest.approx(0.598139, abs=1e-6)


def test_ipo_is_that_of_means_not_that_of_sums(build: Build) -> None:
    summed = [(delta - 1 / (2 * BETA)) ** 2 for delta in (2, -2, 0)]
    assert summed == pytest.approx([9, 49, 25])
    assert feed(build.of_loss("ipo"), TABLE.one(0)).item() == pytest.approx(21.467778, abs=1e-6)


@pytest.mark.parametrize(
    ("divergence", "f"),
    [
        ("reverse_kl", lambda t: t * t.log()),
        ("forward_kl", lambda t: -t.log()),
        ("js_divergence", lambda t: t * t.log() - (t + 1) * ((t + 1) / 2).log()),
        ("alpha_divergence", lambda t: (t**0.5 - 0.5 * t - 0.5) / (-0.25)),
    ],
)
def test_other_divergences_reward_by_the_derivative_of_f(build: Build, divergence: str, f: Any) -> None:
    """Wang et al. 2023 (arXiv 2309.16240): the reward is beta f'(pi / pi_ref); constants cancel."""
    rewards = []
    for policy, reference in ((TABLE.chosen, TABLE.ref_chosen), (TABLE.rejected, TABLE.ref_rejected)):
        ratio = torch.as_tensor(policy - reference).exp().requires_grad_()
        rewards.append(BETA * torch.autograd.grad(f(ratio).sum(), ratio)[0].numpy())
    wanted = np.logaddexp(0, rewards[1] - rewards[0])
    trainer = build(beta=BETA, f_divergence_type=divergence)
    found = [feed(trainer, TABLE.one(n), torch.float32).item() for n in range(3)]  # alpha's knows no float64
    assert found == pytest.approx(wanted, abs=1e-6)


# ------------------------------------------------------------------------------------------------ gradients


def test_gradients_of_the_table(build: Build) -> None:
    slopes = []
    for number in range(3):
        pair = TABLE.one(number)
        chosen = torch.tensor(pair.chosen, requires_grad=True)
        feed(build.of_loss("sigmoid"), Pairs(**{**vars(pair), "chosen": chosen})).backward()
        slopes.append(chosen.grad.item())
    assert slopes == pytest.approx([-0.0450166, -0.0549834, -0.05], abs=1e-7)


@given(
    delta=st.floats(-200, 200),
    chosen=st.floats(-50, 0),
    beta=st.floats(0.01, 5),
    lengths=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_the_gradient_is_beta_times_sigma_of_how_wrong_the_pair_is(
    build: Build, delta: float, chosen: float, beta: float, lengths: tuple[int, int]
) -> None:
    trainer = build(beta=BETA)
    w, l = (torch.tensor([one], dtype=torch.float64, requires_grad=True) for one in (chosen, -7.0))  # noqa: E741
    reference = {"ref_chosen": [chosen - delta - 3.0], "ref_rejected": [-10.0]}
    trainer.beta = beta
    try:
        feed(trainer, Pairs(w, l, **reference, chosen_tokens=lengths[:1], rejected_tokens=lengths[1:])).backward()
    finally:
        trainer.beta = BETA
    wanted = -beta * np.exp(-np.logaddexp(0, beta * delta))  # -beta sigma(-beta delta)
    assert w.grad.item() == pytest.approx(wanted, rel=1e-9, abs=1e-300)
    assert l.grad.item() == pytest.approx(-wanted, rel=1e-9, abs=1e-300)


def test_the_gradient_of_the_parameters_is_that_of_both_log_probabilities(build: Build) -> None:
    """Eq. 7's gradient (Rafailov et al. 2023): -beta sigma(r_l - r_w) (grad log pi(w) - grad log pi(l))."""
    policy, reference = tiny(1), tiny(2)
    trainer = build.of_loss("sigmoid", policy, ref_model=reference)
    row, slopes, rewards = ROWS[:1], [], []
    for which in ("chosen", "rejected"):
        logp = sums(policy, row, which)[0][0]
        slopes.append(torch.autograd.grad(logp, list(policy.parameters())))
        rewards.append(BETA * (logp - sums(reference, row, which)[0][0]).item())
    weight = -BETA / (1 + math.exp(rewards[0] - rewards[1]))
    trainer.compute_loss(trainer.model, batch(trainer, slice(1))).backward()
    for one, up, down in zip(policy.parameters(), *slopes, strict=True):
        torch.testing.assert_close(one.grad, weight * (up - down), rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------------ the optimum

REFERENCE = np.array([0.5, 0.25, 0.15, 0.1])
REWARD = np.array([0.0, 1.0, 2.0, -1.0])
OPTIMUM = [0.04739103, 0.17508749, 0.77623875, 0.00128274]  # pi_ref exp(r / 0.5) / Z
ARMS = [(w, l) for w in range(4) for l in range(4) if w != l]  # noqa: E741


def preferred(w: int, l: int) -> float:  # noqa: E741
    """Return how often `w` is preferred to `l` (Bradley and Terry)."""
    return float(1 / (1 + np.exp(REWARD[l] - REWARD[w])))


def population(logits: Any, loss: Callable[[Any, Any, int, int], Any]) -> Any:
    """Return the loss expected over all pairs of arms, with exact preferences."""
    logp = logits.log_softmax(-1)
    return sum(preferred(w, l) * loss(logp[w : w + 1], logp[l : l + 1], w, l) for w, l in ARMS)  # noqa: E741


def lowest(loss: Callable[[Any, Any, int, int], Any]) -> Any:
    """Return the policy of the lowest expected loss, from the reference on."""
    logits = torch.tensor(np.log(REFERENCE), requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> Any:
        optimiser.zero_grad()
        value = population(logits, loss)
        value.backward()
        return value

    optimiser.step(closure)
    return logits.detach().softmax(-1).numpy()


def test_the_optimum_is_the_reference_times_the_exponential_of_the_reward(build: Build) -> None:
    trainer = build(beta=0.5)

    def through_trl(chosen: Any, rejected: Any, w: int, l: int) -> Any:  # noqa: E741
        about = (np.log(REFERENCE[[w]]), np.log(REFERENCE[[l]]), [1], [1])
        return feed(trainer, Pairs(chosen, rejected, *about))

    tilted = REFERENCE * np.exp(REWARD / 0.5)
    assert tilted / tilted.sum() == pytest.approx(OPTIMUM, abs=1e-8)
    assert lowest(through_trl) == pytest.approx(OPTIMUM, abs=1e-6)


def clamped(chosen: Any, rejected: Any, w: int, l: int) -> Any:  # noqa: E741
    """The recipe that is not DPO: -clamp(log ratio, -1, 1)."""
    return -(chosen - rejected - math.log(REFERENCE[w] / REFERENCE[l])).clamp(-1, 1).sum()


def test_a_clamped_log_ratio_has_another_optimum() -> None:
    """A control: without log sigma there is no exponential of the reward, nor any one optimum."""
    found = lowest(clamped)
    assert np.abs(found - OPTIMUM).max() > 0.1
    # all gaps of 1 or more are as good: neither the size of the rewards nor beta says how far to go
    gaps = [torch.tensor(np.log(REFERENCE) + scale * np.array([1.0, 2.0, 3.0, 0.0])) for scale in (1, 5)]
    assert population(gaps[0], clamped).item() == pytest.approx(population(gaps[1], clamped).item())
    assert np.abs(gaps[0].softmax(-1).numpy() - gaps[1].softmax(-1).numpy()).max() > 0.1


def test_a_clamped_log_ratio_learns_nothing_from_what_is_most_wrong(build: Build) -> None:
    wrong = Pairs([-9.0], [-1.0], [-5.0], [-5.0], [1], [1])  # delta is -8
    slopes = []
    for loss in (lambda pair: feed(build(beta=BETA), pair), lambda pair: -(pair.chosen + 1.0).clamp(-1, 1).sum()):
        chosen = torch.tensor([-9.0], dtype=torch.float64, requires_grad=True)
        loss(Pairs(**{**vars(wrong), "chosen": chosen})).backward()
        slopes.append(chosen.grad.item())
    assert slopes == pytest.approx([-BETA / (1 + math.exp(-0.8)), 0.0])

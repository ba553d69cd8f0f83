"""The divergence benchmark: its world is exact, and a slice of it runs, becomes rows and is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")
pytest.importorskip("matplotlib")

from benchmarks import dpo_divergence, dpo_world
from benchmarks.dpo_plot import Run, plot


@pytest.fixture(scope="module")
def world() -> dpo_world.World:
    with dpo_divergence.quiet():
        return dpo_world.World.make(0)


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return dpo_divergence.measure(2, 8, betas=(0.1, 30.0))


def test_the_reference_answers_and_diverges_from_itself_by_nothing(world: dpo_world.World) -> None:
    assert np.exp(world.said.both).sum((1, 2)) == pytest.approx(np.ones(dpo_world.PROMPTS))
    assert np.exp(world.said.answers).sum((1, 2)).min() > 0.99
    assert world.said.divergence(world.said) == 0
    assert world.worth_given(world.said) == pytest.approx(0, abs=1e-9)
    assert world.worth(world.said) == pytest.approx(0, abs=0.05)


def test_the_divergence_is_what_samples_show(world: dpo_world.World) -> None:
    rng = np.random.default_rng(0)
    other = dpo_world.Said(*(_shaken(one, rng) for one in (world.said.first, world.said.second)))
    chance = np.exp(other.both).reshape(dpo_world.PROMPTS, -1)
    ratio = (other.both - world.said.both).reshape(dpo_world.PROMPTS, -1)
    drawn = np.concatenate(
        [line[rng.choice(len(p), 20_000, p=p / p.sum())] for line, p in zip(ratio, chance, strict=True)]
    )
    assert other.divergence(world.said) == pytest.approx(drawn.mean(), abs=5 * drawn.std() / len(drawn) ** 0.5)


def _shaken(logps: Any, rng: np.random.Generator) -> Any:
    logits = logps + rng.normal(size=logps.shape)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_no_policy_is_better_at_its_divergence_than_the_optimum(world: dpo_world.World) -> None:
    divergence, reward = world.best(0.5)
    weights = np.exp(world.said.answers + world.reward / 0.5)
    weights /= weights.sum((1, 2), keepdims=True)
    worth = reward - 0.5 * divergence
    rng = np.random.default_rng(1)
    for _ in range(20):
        near = weights * np.exp(0.1 * rng.normal(size=weights.shape))
        near /= near.sum((1, 2), keepdims=True)
        other = (near * (world.reward - 0.5 * (np.log(near) - world.said.answers))).sum() / dpo_world.PROMPTS
        assert other < worth


def test_preferences_are_noisy_or_true_or_none(world: dpo_world.World) -> None:
    rng = np.random.default_rng(2)
    right = {noise: world.pairs(2_000, rng, noise=noise).right(world.reward) / 2_000 for noise in ("none", "coin")}
    assert right["none"] == 1
    assert right["coin"] == pytest.approx(0.5, abs=0.05)
    assert 0.6 < world.pairs(2_000, rng).right(world.reward) / 2_000 < 0.9


def test_trl_trains_on_the_two_words_alone(world: dpo_world.World) -> None:
    import datasets
    import trl

    pairs = world.pairs(2, np.random.default_rng(3))
    tokenizer = dpo_world.tokenizer()
    with dpo_divergence.quiet() as folder:
        args = trl.DPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, activation_checkpointing=False, precompute_ref_log_probs=True
        )
        rows = datasets.Dataset.from_list(pairs.rows())
        made = trl.DPOTrainer(world.reference, args=args, train_dataset=rows, processing_class=tokenizer).train_dataset
    assert [len(made[0][f"{name}_ids"]) for name in ("prompt", "chosen", "rejected")] == [1, 2, 2]
    assert tokenizer.decode(made[0]["chosen_ids"]) == pairs.rows()[0]["chosen"][0]["content"]
    assert made["ref_chosen_logps"] == pytest.approx(pairs.of(world.said.answers, "chosen"), abs=1e-5)


def test_every_training_starts_at_the_reference_and_leaves_it(runs: list[Run]) -> None:
    assert len(runs) == 2 * (2 + dpo_divergence.CONTROLS)
    for run in runs:
        first = run.points[0]
        assert (first.step, first.right) == (0, 0)
        assert [first.divergence, first.true, first.proxy, first.chosen] == pytest.approx([0] * 4, abs=1e-9)
        assert run.last.divergence > 1e-4
        assert run.last.true <= run.last.best + 1e-3


def test_rows_have_distinct_ids_and_targets(runs: list[Run]) -> None:
    rows = {row.id: row for row in dpo_divergence.measured(runs)}
    assert len(rows) == len(dpo_divergence.measured(runs))
    assert rows["dpo-kl-falls"].holds is not None
    targets = {name for name, row in rows.items() if row.target is not None}
    assert targets == {"dpo-kl-falls", "dpo-control-accuracy-errors", "dpo-control-true-errors"}


def test_it_is_drawn(runs: list[Run], tmp_path: Path) -> None:
    plot(runs, tmp_path / "dpo.png")
    made = (tmp_path / "dpo.png").read_bytes()
    assert made.startswith(b"\x89PNG")
    assert len(made) < 150_000

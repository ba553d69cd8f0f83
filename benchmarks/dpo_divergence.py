"""What DPO does to a model of which everything is known: how far it goes, what that is worth, and when it goes too far.

python -m benchmarks.dpo_divergence [--seeds 3] [--steps 320] [--write] [--plot docs/dpo.png]

On worlds of `dpo_world`, TRL's DPOTrainer learns from 600 noisy preferences with six betas, and, as a control, from labels that
a coin threw. The proxy is a reward model that TRL's RewardTrainer fits to the same pairs. Divergence, true reward and proxy are
exact. The intervals of means are Student's, over the seeds.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import trl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from scipy import stats
from transformers import LlamaForSequenceClassification, TrainerCallback

from benchmarks import render
from benchmarks.dpo_plot import Point, Run, plot
from benchmarks.dpo_world import Pairs, World, config, expected, listen, scores, standardised, tokenizer
from benchmarks.figures import Measured

BETAS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
CONTROLS, CONTROL_BETA = 2, 0.1  # of a seed
TRAINING, HELD_OUT = 600, 500  # pairs
STEPS, EVERY, BATCH, RATE = 320, 20, 32, 3e-4
PROXY_STEPS = 80
COMMAND = "python -m benchmarks.dpo_divergence --write --plot docs/dpo.png"


class Watch(TrainerCallback):
    """Measures the policy now and then."""

    def __init__(self, measure: Callable[[int, Any], Point]) -> None:
        self.measure, self.points = measure, list[Point]()

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Measure the reference."""
        self.points.append(self.measure(0, model))

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Measure after every 20 steps, and the last."""
        if state.global_step % EVERY == 0 or state.global_step == state.max_steps:
            self.points.append(self.measure(state.global_step, model))


@contextmanager
def quiet() -> Iterator[str]:
    """Yield a folder for the trainers, that are told to be quiet; one thread, which tiny models are quickest with."""
    threads, bars = torch.get_num_threads(), os.environ.get("TQDM_DISABLE")
    torch.set_num_threads(1)
    os.environ["TQDM_DISABLE"] = "1"
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # TRL 1.16 asks transformers 5.23 by the name that version 6 drops
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield folder
    torch.set_num_threads(threads)
    datasets.enable_progress_bars()
    os.environ.pop("TQDM_DISABLE") if bars is None else os.environ.update(TQDM_DISABLE=bars)


def known(folder: str, pairs: Pairs, steps: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the arguments and the trainers of TRL have in common."""
    arguments = {
        "output_dir": folder, "use_cpu": True, "bf16": False, "activation_checkpointing": False, "report_to": "none",
        "dataloader_pin_memory": False, "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no", "log_level": "error",
        "per_device_train_batch_size": BATCH, "max_steps": steps, "learning_rate": RATE, "weight_decay": 0.0,
        "lr_scheduler_type": "cosine", "warmup_steps": steps // 10, "seed": seed,
    }  # fmt: skip
    return arguments, {"train_dataset": datasets.Dataset.from_list(pairs.rows()), "processing_class": tokenizer()}


def proxy(world: World, pairs: Pairs, folder: str, steps: int) -> np.ndarray:
    """Return the rewards that a reward model gives all answers, fitted to the pairs from the reference on."""
    torch.manual_seed(world.seed)
    about = config()
    about.num_labels = 1
    model = LlamaForSequenceClassification(about)
    model.model.load_state_dict(world.reference.model.state_dict())
    arguments, data = known(folder, pairs, steps, world.seed)
    trl.RewardTrainer(model, args=trl.RewardConfig(**arguments), **data).train()
    return standardised(scores(model), world.said)


def train(
    world: World, pairs: Pairs, beta: float, steps: int, measure: Callable[[int, Any], Point], folder: str
) -> Watch:
    """Train a copy of the reference by DPO, and return what was measured."""
    arguments, data = known(folder, pairs, steps, world.seed)
    watch = Watch(measure)
    args = trl.DPOConfig(**arguments, beta=beta, precompute_ref_log_probs=True)
    trl.DPOTrainer(copy.deepcopy(world.reference), args=args, callbacks=[watch], **data).train()
    return watch


def ruler(world: World, beta: float, pairs: Pairs, held_out: Pairs, guessed: np.ndarray) -> Callable[[int, Any], Point]:
    """Return what measures a policy."""
    reference = world.said
    true, guess = world.worth(reference), expected(reference, guessed)
    frontier = np.array([world.best(one) for one in np.geomspace(100, 0.05, 200)])  # divergence, reward

    def measure(step: int, model: Any) -> Point:
        said = listen(model)
        ratio, divergence = said.answers - reference.answers, said.divergence(reference)
        return Point(
            step=step,
            divergence=divergence,
            true=world.worth(said) - true,
            given=world.worth_given(said),  # of the reference: 0
            best=float(np.interp(divergence, *frontier.T)) - true,
            proxy=expected(said, guessed) - guess,
            implicit=beta * divergence,
            chosen=float(pairs.of(ratio, "chosen").mean()),
            rejected=float(pairs.of(ratio, "rejected").mean()),
            right=held_out.right(ratio),
            answers=float(np.exp(said.answers).sum((1, 2)).mean()),
        )

    return measure


def measure(
    seeds: int, steps: int, betas: Sequence[float] = BETAS, advance: Callable[[], None] = lambda: None
) -> list[Run]:
    """Train by every beta, and by coins, in every world; calls `advance` after each training."""
    runs = list[Run]()
    with quiet() as folder:
        for seed in range(seeds):
            world, rng = World.make(seed), np.random.default_rng(1_000 + seed)
            pairs, held_out = world.pairs(TRAINING, rng), world.pairs(HELD_OUT, rng, noise="none")
            guessed = proxy(world, pairs, folder, min(steps, PROXY_STEPS))
            wanted = [(beta, False, pairs) for beta in betas]
            wanted += [(CONTROL_BETA, True, world.pairs(TRAINING, rng, noise="coin")) for _ in range(CONTROLS)]
            for beta, control, labels in wanted:
                watch = train(world, labels, beta, steps, ruler(world, beta, labels, held_out, guessed), folder)
                optimum, points = world.best(beta)[0], tuple(watch.points)
                runs.append(Run(seed=seed, beta=beta, control=control, optimum=optimum, points=points))
                advance()
    return runs


def of_seeds(values: Sequence[float], **about: Any) -> Measured:
    """Return a mean with Student's interval."""
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(values) > 1 else 0.0
    return Measured(value=round(mean, 4), interval=(round(mean - half, 4), round(mean + half, 4)), **about)


def errors(values: Sequence[float]) -> float:
    """Return how many standard errors the mean is above 0."""
    return round(float(np.mean(values) / stats.sem(values)), 3)


def measured(runs: Sequence[Run]) -> list[Measured]:
    """Return the figures; two seeds or more are needed."""
    by = {
        beta: [run for run in runs if run.beta == beta and not run.control]
        for beta in sorted({run.beta for run in runs if not run.control})
    }
    rows = [row for beta, of in by.items() for row in _of_beta(beta, of)]
    means = [float(np.mean([run.last.divergence for run in of])) for of in by.values()]
    falls = [later < earlier for earlier, later in pairwise(means)]
    lowest = by[min(by)]
    lost = [max(point.true for point in run.points) - run.last.true for run in lowest]
    rows += [
        Measured(id="dpo-kl-falls", what="steps from a beta to the next at which the mean divergence falls", value=round(sum(falls) / len(falls), 4), unit="share", n=len(falls), target=1.0),
        of_seeds(lost, id="dpo-overshoot", what=f"true reward at beta {min(by):g} lost since its best on the way", unit="sd", n=len(lowest)),
        of_seeds([run.last.proxy for run in lowest], id="dpo-proxy", what=f"reward model's reward gained at beta {min(by):g}", unit="sd", n=len(lowest)),
        of_seeds([run.last.given for run in lowest], id="dpo-given", what=f"true reward gained at beta {min(by):g} by what is an answer", unit="sd", n=len(lowest)),
        of_seeds([run.last.answers for run in lowest], id="dpo-answers", what=f"what is said at beta {min(by):g} that is an answer at all", unit="share", n=len(lowest)),
    ]  # fmt: skip
    return rows + _of_control([run.last for run in runs if run.control])


def _of_beta(beta: float, runs: Sequence[Run]) -> list[Measured]:
    """Return what became of the policies of one beta."""
    last, n = [run.last for run in runs], len(runs)
    told = f"at beta {beta:g}"
    return [
        of_seeds([one.divergence for one in last], id=f"dpo-kl-{beta:g}", what=f"KL from the reference {told}", unit="nats", n=n),
        of_seeds([one.true for one in last], id=f"dpo-true-{beta:g}", what=f"true reward gained {told}", unit="sd", n=n),
        of_seeds([one.true / one.best for one in last], id=f"dpo-of-best-{beta:g}", what=f"true reward gained {told}, of the most there is at that KL", unit="share", n=n),
        of_seeds([one.right / HELD_OUT for one in last], id=f"dpo-accuracy-{beta:g}", what=f"held-out pairs in their true order {told}", unit="share", n=n * HELD_OUT),
        of_seeds([one.chosen for one in last], id=f"dpo-chosen-{beta:g}", what=f"log-probability of chosen answers gained {told}", unit="nats", n=n),
        of_seeds([one.rejected for one in last], id=f"dpo-rejected-{beta:g}", what=f"log-probability of rejected answers gained {told}", unit="nats", n=n),
    ]  # fmt: skip


def _of_control(last: Sequence[Point]) -> list[Measured]:
    """Return what became of the policies that learnt from coins: nothing, within what chance allows."""
    n, limit = len(last), round(float(stats.t.ppf(0.975, len(last) - 1)), 3)
    right, gained = [one.right / HELD_OUT for one in last], [one.true for one in last]
    return [
        of_seeds(right, id="dpo-control-accuracy", what="random labels: held-out pairs in their true order", unit="share", n=n * HELD_OUT),
        Measured(id="dpo-control-accuracy-errors", what="random labels: how far that is from a half", value=abs(errors([one - 0.5 for one in right])), unit="standard errors", n=n, target=limit),
        of_seeds(gained, id="dpo-control-true", what="random labels: true reward gained", unit="sd", n=n),
        Measured(id="dpo-control-true-errors", what="random labels: how far that is above 0", value=errors(gained), unit="standard errors", n=n, target=limit),
    ]  # fmt: skip


def table(runs: Sequence[Run]) -> Table:
    """Return every training's end."""
    heads = ("seed", "beta", "KL", "true", "best at that KL", "proxy", "chosen", "rejected", "held-out", "answers")
    drawn = Table(*heads, box=None, title="gains on the reference after the last step")
    for run in sorted(runs, key=lambda run: (run.control, run.beta, run.seed)):
        end = run.last
        figures = (end.divergence, end.true, end.best, end.proxy, end.chosen, end.rejected)
        cells = [
            *(f"{one:.2f}" for one in figures),
            *(f"{100 * one:.0f} %" for one in (end.right / HELD_OUT, end.answers)),
        ]
        drawn.add_row(str(run.seed), "coins" if run.control else f"{run.beta:g}", *cells)
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dpo_divergence", description="What DPO does, exactly.")
    parser.add_argument("--seeds", type=int, default=3, help="worlds, 2 or more (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training (default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it as a PNG")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/dpo.json")
    wanted = parser.parse_args(argv)
    if wanted.seeds < 2:
        parser.error("--seeds: intervals need 2 or more")
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("trainings", total=wanted.seeds * (len(BETAS) + CONTROLS))
        runs = measure(wanted.seeds, wanted.steps, advance=lambda: bar.advance(task))
    Console(width=None if sys.stdout.isatty() else 150).print(table(runs))
    render.publish("dpo", measured(runs), command=COMMAND, began=began, write=wanted.write)
    if wanted.plot:
        plot(runs, wanted.plot)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

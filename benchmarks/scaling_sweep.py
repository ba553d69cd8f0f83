"""Scaling laws: the sweep and the doubling on this machine, and the fit against what is published.

python -m benchmarks.scaling_sweep [--workers 2] [--seed 0] [--slice] [--isoflop FILE] [--doubling FILE] [--write]

The fifteen models of `agentkit train scaling sweep` are trained anew in an empty folder, then those of `double`. The fit is
timed, and the published constants are sought, on generated runs: the authors' own are not here.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from agentkit import jobs
from agentkit_training.scaling import PUBLISHED, Chinchilla, Fit, Law, Run, allocate, fit, load_fit
from agentkit_training.scaling.fitting import interval
from agentkit_training.scaling.sweep.doubling import DOUBLE
from agentkit_training.scaling.sweep.sweeping import SWEEP
from benchmarks import render
from benchmarks.figures import Measured

COMMAND = "python -m benchmarks.scaling_sweep --write"
SWEEP_S, FIT_S, BOOTSTRAP_S = 600.0, 0.3, 5.0
CLEAN, NOISY, PRINTED, AUTHORS = 1e-3, 0.012, 1e-3, 1e-9
SLICE: dict[str, Any] = {"budgets": [1e9, 2e9], "sizes": [9e3, 15e3, 25e3]}
SLICE_DOUBLE: dict[str, Any] = {"tokens": 3e4, "smallest": 10e3, "doublings": 2}
BUDGETS, SIZES, NOISE, RUNS = np.geomspace(1e18, 1e22, 5), 49, 0.003, 245  # as many as Hoffmann et al. drew
UNIQUE = 2e9  # tokens, for the law that knows repeats
SEEDS = 5
AT = 5.76e23  # FLOPs of Chinchilla
OPTIMUM = {
    "params": 72.25e9,
    "tokens": 1.329e12,
    "tokens_per_param": 18.39,
    "loss": 1.9744,
}  # of the constants as printed
CONSTRAINED = {(6.34e9, 242e9): 2.2256440889984477, (8.67e9, 178e9): 2.2269634075087867}  # N, D with 25e9 unique


def trained(folder: Path, params: Mapping[str, Any], double: Mapping[str, Any]) -> dict[str, Any]:
    """Run the sweep and the doubling in `folder`; return their figures, and the seconds of each."""
    found: dict[str, Any] = {}
    for name, job, given in (
        ("sweep", SWEEP, params),
        ("double", DOUBLE, {**double, "law": str(folder / "sweep/artifacts/fit.json")}),
    ):
        began = time.monotonic()
        done = _run(job, given, folder / name)
        if done.status != "ok":
            raise SystemExit(f"the {name} ended as {done.status}: {done.error}")
        found[name] = {**done.metrics, "seconds": time.monotonic() - began, "warnings": done.warnings}
    return found


def _run(job: jobs.Job, params: Mapping[str, Any], folder: Path) -> jobs.JobResult:
    """Run a job with a bar on stderr, where that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    ended: list[jobs.JobResult] = []
    thread = threading.Thread(target=lambda: ended.append(jobs.run(job, params, run_dir=folder)))
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        shown = bar.add_task(job.name, total=None)
        thread.start()
        while thread.is_alive():
            thread.join(0.5)
            if (folder / "events.jsonl").exists():
                state = jobs.read(folder)
                bar.update(shown, completed=state.step, total=state.total)
    if not ended:
        raise SystemExit(f"the {job.name} could not be begun; its error is above")
    return ended[0]


def measured_sweep(found: Mapping[str, Any], law: Fit) -> list[Measured]:
    """Return the figures of what was trained."""
    sweep, double = found["sweep"], found["double"]
    count, ahead = sweep["cells"], sweep["extrapolation"] or {}
    own, laws = law.law, law.laws()
    assert isinstance(own, Chinchilla)
    rows = [
        Measured(id="scaling-sweep-s", what=f"a sweep of {count} models, {sweep['flops']:.2g} FLOPs, with its fit", value=round(sweep["seconds"], 1), unit="s", n=count, target=SWEEP_S),
        Measured(id="scaling-double-s", what=f"a doubling of {len(double['rows'])} models", value=round(double["seconds"], 1), unit="s", n=len(double["rows"])),
    ]  # fmt: skip
    rows += [
        Measured(id=f"scaling-{name}", what=f"{name} of the law fitted to the sweep's models, of bytes", value=float(f"{one['value']:.4g}"), unit="", n=count, interval=_rounded(one["interval"]))
        for name, one in sweep["constants"].items()
    ]  # fmt: skip
    rows += [
        Measured(id="scaling-a", what="exponent of the best N by compute, beta / (alpha + beta)", value=round(_share(own), 4), unit="", n=count, interval=_rounded(interval([_share(one) for one in laws]))),
        Measured(id="scaling-residual", what="largest residual of the fit, of the loss", value=round(max(map(abs, law.residuals)), 5), unit="relative", n=count),
    ]  # fmt: skip
    if ahead:
        to = f"the largest budget from the smaller ones, {ahead['factor']:.2g} times the compute"
        rows += [
            Measured(id="scaling-extrapolation", what=f"error of predicting {to}, mean", value=round(abs(ahead["mean_error"]), 5), unit="relative", n=ahead["held_out_runs"]),
            Measured(id="scaling-extrapolation-worst", what=f"error of predicting {to}, worst", value=round(ahead["largest_error"], 5), unit="relative", n=ahead["held_out_runs"]),
        ]  # fmt: skip
    rows += [
        Measured(id="scaling-double-predicted", what="what doubling N at fixed D multiplies A / N^alpha by, by the law: 2^-alpha", value=round(double["predicted_factor"], 4), unit="", n=len(double["rows"]), interval=_rounded(interval([2.0**-one.alpha for one in laws if isinstance(one, Chinchilla)]))),
        Measured(id="scaling-double-error", what="error of predicting the doubled models, mean of sizes", value=round(sum(abs(row["predicted"] / row["loss"] - 1) for row in double["rows"]) / len(double["rows"]), 5), unit="relative", n=len(double["rows"])),
    ]  # fmt: skip
    if double["factor"] is not None:
        rows.append(Measured(id="scaling-double-factor", what="what doubling N at fixed D multiplied loss above E + B / D^beta by", value=round(double["factor"], 4), unit="", n=len(double["rows"])))  # fmt: skip
    return rows


def _rounded(ends: Sequence[float]) -> tuple[float, float]:
    low, high = (float(f"{end:.4g}") for end in ends)
    return low, high


def _share(law: Law) -> float:
    assert isinstance(law, Chinchilla)
    return law.beta / (law.alpha + law.beta)


def measured_fit() -> list[Measured]:
    """Return how long a fit takes, and how near it comes to what is published."""
    runs = made(PUBLISHED["epoch"], noise=NOISE, seed=0)
    plain = [_seconds(lambda: fit(runs, bootstrap=0)) for _ in range(5)]
    sampled = [_seconds(lambda: fit(runs, bootstrap=100)) for _ in range(3)]
    clean = {name: fit(made(law), form=law.form, bootstrap=0).law for name, law in PUBLISHED.items()}
    off = max(
        abs(getattr(clean[name], key) / value - 1)
        for name, law in PUBLISHED.items()
        for key, value in law.constants().items()
    )
    count = sum(len(law.constants()) for law in PUBLISHED.values())
    noisy = [
        fit(made(PUBLISHED["epoch"], noise=NOISE, seed=seed), bootstrap=0).law.constants() for seed in range(SEEDS)
    ]
    exponents = [abs(one[key] - PUBLISHED["epoch"].constants()[key]) for one in noisy for key in ("alpha", "beta")]
    best = allocate(AT, law=PUBLISHED["epoch"])
    printed = max(abs(getattr(best, name) / value - 1) for name, value in OPTIMUM.items())
    repeated = max(abs(PUBLISHED["muennighoff"].predict(n, d, 25e9) - loss) for (n, d), loss in CONSTRAINED.items())
    return [
        Measured(id="scaling-fit-s", what=f"a fit to {RUNS} runs without a bootstrap, median of 5", value=round(median(plain), 4), unit="s", n=5, target=FIT_S),
        Measured(id="scaling-fit-bootstrap-s", what=f"a fit to {RUNS} runs with 100 bootstrap samples, median of 3", value=round(median(sampled), 3), unit="s", n=3, target=BOOTSTRAP_S),
        Measured(id="scaling-recovery-clean", what="largest error of a published constant, found from clean runs of its law", value=float(f"{off:.2g}"), unit="relative", n=count, target=CLEAN),
        Measured(id="scaling-recovery-noisy", what=f"largest error of alpha and beta from {RUNS} runs of the replicated law with 0.3 % noise", value=float(f"{max(exponents):.3g}"), unit="", n=len(exponents), target=NOISY),
        Measured(id="scaling-optimum", what=f"N, D, D / N and loss at {AT:g} FLOPs: largest difference to the replication's", value=float(f"{printed:.2g}"), unit="relative", n=len(OPTIMUM), target=PRINTED),
        Measured(id="scaling-constrained", what="loss with repeated tokens: largest difference to the authors' code", value=float(f"{repeated:.2g}"), unit="nats", n=len(CONSTRAINED), target=AUTHORS),
    ]  # fmt: skip


def made(law: Law, *, noise: float = 0.0, seed: int = 0) -> list[Run]:
    """Return runs of a law: budgets by sizes from an eighth of the best to eight times it, with noise on ln loss."""
    rng, runs = np.random.default_rng(seed), []
    for flops in BUDGETS:
        for params in law.optimum(float(flops))[0] * np.geomspace(1 / 8, 8, SIZES):
            tokens = float(flops / (6 * params))
            unique = min(tokens, UNIQUE) if law.repeats else None
            loss = law.predict(float(params), tokens, unique) * float(np.exp(noise * rng.standard_normal()))
            runs.append(Run(float(params), tokens, loss, unique))
    return runs


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling_sweep", description="Scaling laws.")
    parser.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument(
        "--slice", action="store_true", help="six models for a moment, to see that it works; writes no rows"
    )
    parser.add_argument("--isoflop", type=Path, metavar="FILE", help="keep the sweep's picture there")
    parser.add_argument("--doubling", type=Path, metavar="FILE", help="keep the doubling's picture there")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/scaling.json")
    wanted = parser.parse_args(argv)
    began, shared = time.monotonic(), {"workers": wanted.workers, "seed": wanted.seed}
    params, double = (SLICE, SLICE_DOUBLE) if wanted.slice else ({}, {})
    rows = measured_fit()
    with tempfile.TemporaryDirectory() as name:
        found = trained(Path(name), {**params, **shared}, {**double, **shared})
        rows += measured_sweep(found, load_fit(Path(name) / "sweep/artifacts/fit.json"))
        for target, made_there in (
            (wanted.isoflop, "sweep/artifacts/isoflop.png"),
            (wanted.doubling, "double/artifacts/doubling.png"),
        ):
            if target is not None:
                shutil.copyfile(Path(name) / made_there, target)
    render.publish("scaling", rows, command=COMMAND, began=began, write=wanted.write and not wanted.slice)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

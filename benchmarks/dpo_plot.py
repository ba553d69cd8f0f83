"""What `dpo_divergence` measures, as values, and as one picture of four."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

__all__ = ["Point", "Run", "plot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a policy is at one moment; rewards are gains on the reference in its standard deviations, drifts nats a pair."""

    step: int
    divergence: float  # KL(policy || reference), nats an answer
    true: float
    given: float  # the true reward of what is an answer
    best: float  # the highest true reward that there is at this divergence
    proxy: float
    implicit: float  # beta E[log policy / reference]
    chosen: float  # log-probability of the training pairs' chosen answers, less the reference's
    rejected: float
    right: int  # of the held-out pairs
    answers: float  # share of what it says that is an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training, by the exact measures along it; the first point is the reference."""

    seed: int
    beta: float
    control: bool
    optimum: float  # the divergence of pi_ref exp(r / beta) / Z, where exact preferences would lead
    points: tuple[Point, ...]

    @property
    def last(self) -> Point:
        """The end of the training."""
        return self.points[-1]


def plot(runs: Sequence[Run], path: Path) -> None:
    """Draw divergence by beta, reward by divergence, and rewards and log-probabilities along the training, as a PNG."""
    betas = sorted({run.beta for run in runs if not run.control})
    by = {beta: [run for run in runs if run.beta == beta and not run.control] for beta in betas}
    colours = {beta: colormaps["viridis"](n / len(betas)) for n, beta in enumerate(betas)}
    figure = Figure(figsize=(11, 8), layout="constrained")
    places = figure.subplots(2, 2)
    _divergence(places[0, 0], by, colours)
    _reward(places[0, 1], runs, colours)
    _along(places[1, 0], by[betas[0]], [run for run in runs if run.control])
    _drift(places[1, 1], {beta: by[beta] for beta in betas[::2]}, colours)
    for place in places.flat:
        place.grid(alpha=0.3)
        place.tick_params(labelsize=8)
        place.legend(fontsize=8)
    figure.savefig(path, format="png", dpi=68)


def _divergence(place: Any, by: dict[float, list[Run]], colours: dict[float, Any]) -> None:
    betas = list(by)
    for beta, of in by.items():
        place.plot([beta] * len(of), [run.last.divergence for run in of], "o", color=colours[beta], markersize=4)
    reached = [np.mean([run.last.divergence for run in of]) for of in by.values()]
    ideal = [np.mean([run.optimum for run in of]) for of in by.values()]
    place.plot(betas, reached, "k-", label="DPO, noisy pairs")
    place.plot(betas, ideal, "k:", label="optimum, exact preferences")
    place.set(xscale="log", yscale="log", xlabel="beta", ylabel="KL from the reference, nats", title="how far it goes")


def _reward(place: Any, runs: Sequence[Run], colours: dict[float, Any]) -> None:
    labelled = set[float | str]()
    for run in runs:
        name: float | str = "random labels" if run.control else run.beta
        label = None if name in labelled else name if run.control else f"beta {run.beta:g}"
        labelled.add(name)
        style = {"color": "tab:red", "linestyle": ":"} if run.control else {"color": colours[run.beta]}
        place.plot([one.divergence for one in run.points], [one.true for one in run.points], lw=1, label=label, **style)
    ends = sorted((point.divergence, point.best) for run in runs for point in run.points if run.seed == 0)
    place.plot(*zip(*ends, strict=True), "k--", lw=1, label="best there is (seed 0)")
    place.set(xlabel="KL from the reference, nats", ylabel="true reward gained, sd", title="what that is worth")


def _along(place: Any, runs: Sequence[Run], controls: Sequence[Run]) -> None:
    shown: tuple[tuple[str, str, Sequence[Run], Callable[[Point], float]], ...] = (
        ("true reward", "tab:blue", runs, lambda point: point.true),
        ("true reward of what is an answer", "tab:cyan", runs, lambda point: point.given),
        ("proxy: a reward model's", "tab:orange", runs, lambda point: point.proxy),
        ("implicit reward", "tab:green", runs, lambda point: point.implicit),
        ("true reward, random labels", "tab:red", controls, lambda point: point.true),
    )
    for label, colour, of, value in shown:
        _band(place, of, value, label=label, color=colour)
    title = f"along the training, beta {runs[0].beta:g} (mean, least and most)"
    place.set(xlabel="step", ylabel="gained, sd", title=title)


def _drift(place: Any, by: dict[float, list[Run]], colours: dict[float, Any]) -> None:
    for beta, of in by.items():
        _band(place, of, lambda point: point.chosen, label=f"chosen, beta {beta:g}", color=colours[beta])
        _band(place, of, lambda point: point.rejected, label="rejected", color=colours[beta], linestyle="--")
    place.set(xlabel="step", ylabel="log-probability gained, nats a training pair", title="what it does to the pairs")


def _band(place: Any, runs: Sequence[Run], value: Callable[[Point], float], **style: Any) -> None:
    steps = [point.step for point in runs[0].points]
    values = np.array([[value(point) for point in run.points] for run in runs])
    place.plot(steps, values.mean(0), lw=1.5, **style)
    place.fill_between(steps, values.min(0), values.max(0), color=style["color"], alpha=0.12, lw=0)

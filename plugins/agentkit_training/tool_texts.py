"""What a job came to, in a few words for the person who asked: better or not, by which figures, on how many rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentkit.jobs import JobState
from agentkit.jobs.texts import duration

__all__ = ["result_texts"]

FEW = 30  # held-out rows below which a difference says little
SAME = 0.002  # share of the loss, or of a reward, within which nothing has changed
WARNINGS = 3


def result_texts(state: JobState, out: str | None) -> tuple[str, str]:
    """Return what a job that is done came to: for a person, and in a few words for a model that needs no more to go on."""
    return _text(state, out), _brief(state)


def _text(state: JobState, out: str | None) -> str:
    """Return two or three sentences on a job that is done; `out` is where what it made is."""
    assert state.result is not None
    figures = state.result.metrics
    told = [_TOLD.get(state.job, _trained)(figures), f"It took {duration(state.result.wall_s)}"]
    if out is not None:
        told.append(f"{_MADE.get(state.job, 'The model is')} in {out}")
    told += [f"Note: {text.rstrip('.')}" for text in state.result.warnings[:WARNINGS]]
    return ". ".join(told)  # and no full stop after it: it may be quoted within a sentence


def _brief(state: JobState) -> str:
    """Return the same in a few words, for a model that needs no more to go on."""
    assert state.result is not None
    if state.job in _TOLD:
        return "it is made" if state.job in _MADE else "it is measured"
    change = _change(state.result.metrics)
    return "it is trained" if change is None else _VERDICTS[change.better]


def _trained(figures: Mapping[str, Any]) -> str:
    steps, change = f"{figures['steps']} steps", _change(figures)
    if change is None:
        return (
            f"It is trained in {steps}; whether it got better is not known, for no rows were held out. The training loss went "
            f"from {_number(figures.get('loss_first'))} to {_number(figures.get('loss_last'))}"
        )
    told = [f"{change.name} {_number(change.before)} -> {_number(change.after)}"]
    if "eval_accuracy_before" in figures:
        told.append(f"accuracy {figures['eval_accuracy_before']:.0%} -> {figures['eval_accuracy']:.0%}")
    rows = figures["rows_held_out"]
    few = ", which is too few to be sure" if rows < FEW else ""
    return f"{_VERDICTS[change.better].capitalize()} in {steps}: {', '.join(told)}, on {rows} held-out rows{few}"


@dataclass(frozen=True, slots=True)
class _Change:
    """A figure of held-out rows before and after; `better` is 1, -1, or 0 where it is nearly the same."""

    name: str
    before: float
    after: float
    better: int


def _change(figures: Mapping[str, Any]) -> _Change | None:
    """Return what says best whether a training made the model better: the reward where there is one, else the loss."""
    name = next((one for one in ("eval_reward", "eval_loss") if f"{one}_before" in figures), None)
    if name is None or not figures.get("rows_held_out"):
        return None
    before, after = figures[f"{name}_before"], figures[name]
    gain = (after - before if name == "eval_reward" else before - after) / (abs(before) or 1.0)
    return _Change(name.removeprefix("eval_"), before, after, 0 if abs(gain) <= SAME else 1 if gain > 0 else -1)


def _evaluated(figures: Mapping[str, Any]) -> str:
    told = [f"perplexity {_number(figures['perplexity'])}"]
    if "accuracy" in figures:
        low, high = figures["accuracy_interval"]
        told.append(
            f"the preferred answer is the likelier one in {figures['accuracy']:.0%} (95 %: {low:.0%} to {high:.0%})"
        )
    if "kl" in figures:
        told.append(f"KL {_number(figures['kl'])} nats a token")
    return f"{', '.join(told)}; on {figures['rows']} rows".capitalize()


def _quantised(figures: Mapping[str, Any]) -> str:
    before, after = figures["bytes_before"], figures["bytes"]
    return f"{before / 1e6:.1f} MB -> {after / 1e6:.1f} MB ({after / before:.0%}), {figures['bits_per_weight']:.2f} bits a weight"


def _written(figures: Mapping[str, Any]) -> str:
    return f"Wrote {figures['bytes'] / 1e6:.1f} MB"


_TOLD = {"evaluate": _evaluated, "quantize": _quantised, "export_gguf": _written, "merge_adapter": _written}
_MADE = {"quantize": "It is", "export_gguf": "It is", "merge_adapter": "The model is"}
_VERDICTS = {1: "it got better", 0: "it stayed the same", -1: "it got worse"}


def _number(value: Any) -> str:
    return "?" if value is None else f"{value:.4g}"

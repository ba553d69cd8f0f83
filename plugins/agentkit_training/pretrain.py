"""Train a Llama from scratch: resumable, watchable, done when its budget is.

Guarantees: a run that is stopped (SIGTERM, or `stop`) writes a checkpoint and goes on from the same
sample when called again, with the same batches; files appear whole or not at all; the learning rate
is constant, then falls over the last part of the budget, so that a run can be called again with a
larger budget (it then goes on from the weights kept before the fall).
Does not make data: `source(n)` yields samples from the n-th on. Does not print: see `report`.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from agentkit_training.llama import Llama

__all__ = ["PretrainConfig", "PretrainResult", "Sample", "Source", "load_weights", "pretrain"]

Sample = tuple[Sequence[int], Sequence[float]]
"""Token ids, and beside each what it counts in the loss of predicting it."""
Source = Callable[[int], Iterator[Sample]]
"""Yields samples from the n-th on; the same ones each time it is asked."""
Report = Callable[[Mapping[str, Any]], None]
Evaluate = Callable[[Llama], Mapping[str, float]]

CHECKPOINT, BEFORE_DECAY, WEIGHTS = "checkpoint.pt", "before_decay.pt", "weights.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """How to train; whichever budget is spent first ends the run."""

    budget_tokens: int
    budget_s: float = float("inf")
    batch_tokens: int = 4096
    muon_rate: float = 0.003
    adam_rate: float = 0.002
    warmup_tokens: int = 60_000
    decay_share: float = 0.25
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    light_below: float = 0.05
    """Tokens that weigh less than this are sampled, and the sampled ones weighed up."""
    light_share: float = 0.25
    window: int = 256
    """Samples that are put in order of length together."""
    report_every_s: float = 20.0
    checkpoint_every_s: float = 300.0
    evaluate_every_tokens: int = 1_000_000
    seed: int = 0
    autocast: bool = True
    compile: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainResult:
    """What a run came to."""

    status: Literal["ok", "cancelled"]
    tokens: int
    steps: int
    seconds: float
    weights: Path
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Place:
    """How far a run has come: with the seed, all that its next batch depends on."""

    tokens: int = 0
    steps: int = 0
    seconds: float = 0.0
    window: int = 0
    batch: int = 0


def pretrain(
    model: Llama,
    source: Source,
    folder: Path,
    config: PretrainConfig,
    *,
    evaluate: Evaluate | None = None,
    report: Report | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> PretrainResult:
    """Train `model` in place until the budget is spent, and keep everything in `folder`.

    Args:
        model: fresh; overwritten by the checkpoint when `folder` holds one.
        source: the data.
        folder: checkpoint.pt, before_decay.pt, weights.pt, metrics.jsonl.
        config: how; a larger budget than that of the checkpoint continues it.
        evaluate: measured now and then, and at the end.
        report: given each line of metrics.jsonl as it is written.
        stop: asked before each step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(model=model, folder=folder, config=config, evaluate=evaluate, report=report)
    run.resume()
    with _on_sigterm() as told:
        for tokens, weights in run.batches(source):
            if stop() or told.is_set():
                run.save(CHECKPOINT)
                return run.result("cancelled")
            run.step(tokens, weights)
            run.keep_up()
            if run.progress() >= 1:
                break
    run.finish()
    return run.result("ok")


def load_weights(model: Llama, path: Path) -> Llama:
    """Read what `pretrain` wrote (weights.pt or a checkpoint) into `model` and return it."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(saved.get("model", saved))
    return model


class _Run:
    """One call of `pretrain`: the only thing here that changes."""

    def __init__(
        self, *, model: Llama, folder: Path, config: PretrainConfig,
        evaluate: Evaluate | None, report: Report | None,
    ) -> None:  # fmt: skip
        self.model, self.folder, self.config = model, folder, config
        self.evaluate, self.report = evaluate, report
        self.optimizers = _optimizers(model, config)
        self.rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        self.place = _Place()
        self.metrics: dict[str, float] = {}
        self.states: Callable[[Tensor], Tensor] = model.hidden_states
        if config.compile:
            self.states = torch.compile(model.hidden_states, dynamic=True)
        self.clock = self.reported_at = self.saved_at = time.monotonic()
        self.reported_tokens = self.evaluated_tokens = 0
        self.losses: list[float] = []
        self.is_before_decay = True

    def progress(self) -> float:
        """The share of the budget that is spent."""
        spent = self.place.tokens / self.config.budget_tokens
        return max(spent, self.place.seconds / self.config.budget_s)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one; from before the decay if the budget grew."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        saved = torch.load(path, map_location="cpu", weights_only=True)
        self.place = _Place(**saved["place"])
        early = self.folder / BEFORE_DECAY
        if saved["decaying"] and self.progress() < 1 - self.config.decay_share and early.exists():
            saved = torch.load(early, map_location="cpu", weights_only=True)
            self.place = _Place(**saved["place"])
        self.is_before_decay = self.progress() < 1 - self.config.decay_share
        self.model.load_state_dict(saved["model"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.reported_tokens = self.evaluated_tokens = self.place.tokens

    def batches(self, source: Source) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of like length, from the place reached; for ever, or till data end."""
        config = self.config
        samples = source(self.place.window * config.window)
        while window := list(islice(samples, config.window)):
            order = _batched(window, config.batch_tokens)
            Random(f"{config.seed}-{self.place.window}").shuffle(order)
            for batch in order[self.place.batch :]:
                yield _padded(batch)
            self.place.window, self.place.batch = self.place.window + 1, 0

    def step(self, tokens: Tensor, weights: Tensor) -> None:
        """Take one step."""
        rate = self._rate()
        for optimizer, full in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = full * rate
        loss = self._loss(tokens, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.losses.append(float(loss.detach()))
        self.place.tokens += int((tokens != 0).sum())
        self.place.steps += 1
        self.place.batch += 1
        now = time.monotonic()
        self.place.seconds, self.clock = self.place.seconds + now - self.clock, now

    def _rate(self) -> float:
        warm = (self.place.tokens + self.config.batch_tokens) / self.config.warmup_tokens
        left = (1 - self.progress()) / self.config.decay_share
        return min(1.0, warm, max(left, 0.02))

    def _loss(self, tokens: Tensor, weights: Tensor) -> Tensor:
        chance = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.place.steps)
        goal, weight = tokens[:, 1:], weights[:, 1:].clone()
        light = weight < self.config.light_below
        kept = torch.rand(weight.shape, generator=chance) < self.config.light_share
        weight[light] /= self.config.light_share
        chosen = (weight > 0) & (~light | kept)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.autocast):
            logits = self.model.logits(self.states(tokens[:, :-1])[chosen])
        each = functional.cross_entropy(logits.float(), goal[chosen], reduction="none")
        weight = weight[chosen]
        return (each * weight).sum() / weight.sum().clamp(min=1e-6)

    def keep_up(self) -> None:
        """Evaluate, report and save when it is time."""
        config, now = self.config, time.monotonic()
        if self.is_before_decay and self.progress() >= 1 - config.decay_share:
            self.save(BEFORE_DECAY)
            self.is_before_decay = False
        if self.place.tokens - self.evaluated_tokens >= config.evaluate_every_tokens:
            self._measure()
        if now - self.reported_at >= config.report_every_s:
            self._tell("progress", self._rates(now))
        if now - self.saved_at >= config.checkpoint_every_s:
            self.save(CHECKPOINT)

    def _rates(self, now: float) -> dict[str, float]:
        speed = (self.place.tokens - self.reported_tokens) / (now - self.reported_at)
        loss = sum(self.losses) / max(len(self.losses), 1)
        self.reported_at, self.reported_tokens, self.losses = now, self.place.tokens, []
        done = max(self.progress(), 1e-9)
        left = self.place.seconds * (1 - done) / done
        return {"loss": loss, "tokens_per_s": speed, "left_s": left, "rate": self._rate()}

    def _measure(self) -> None:
        self.evaluated_tokens = self.place.tokens
        if self.evaluate is None:
            return
        self.model.eval()
        with torch.no_grad():
            self.metrics = dict(self.evaluate(self.model))
        self.model.train()
        self._tell("evaluation", self.metrics)

    def _tell(self, phase: str, metrics: Mapping[str, float]) -> None:
        line = {
            "phase": phase, "step": self.place.steps, "tokens": self.place.tokens,
            "seconds": round(self.place.seconds, 1), "done": round(self.progress(), 4),
            "metrics": {name: round(float(value), 5) for name, value in metrics.items()},
        }  # fmt: skip
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.report is not None:
            self.report(line)

    def save(self, name: str) -> None:
        """Write a checkpoint, whole or not at all."""
        self.saved_at = time.monotonic()
        content = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "place": asdict(self.place),
            "decaying": self.progress() >= 1 - self.config.decay_share,
        }
        _write(content, self.folder / name)

    def finish(self) -> None:
        """Measure, and write the last checkpoint and the weights alone."""
        self._measure()
        self.save(CHECKPOINT)
        _write(self.model.state_dict(), self.folder / WEIGHTS)
        self._tell("end", self.metrics)

    def result(self, status: Literal["ok", "cancelled"]) -> PretrainResult:
        """Say what the run came to."""
        place, kept = self.place, WEIGHTS if status == "ok" else CHECKPOINT
        return PretrainResult(
            status=status, tokens=place.tokens, steps=place.steps, seconds=place.seconds,
            weights=self.folder / kept, metrics=self.metrics,
        )  # fmt: skip


def _write(content: Mapping[str, Any], path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    torch.save(dict(content), partial)
    partial.replace(path)


def _optimizers(model: Llama, config: PretrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside, AdamW for the embedding and the norms."""
    inside = {name for name, weight in model.named_parameters() if weight.ndim == 2}
    inside.discard("embedding.weight")
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if name in inside]
    others = [weight for name, weight in named if name not in inside]
    return [
        torch.optim.Muon(matrices, lr=config.muon_rate, weight_decay=config.weight_decay, momentum=0.95),
        torch.optim.AdamW(others, lr=config.adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _batched(samples: Sequence[Sample], batch_tokens: int) -> list[list[Sample]]:
    """Cut samples, in order of length, into batches of at most `batch_tokens` after padding."""
    batches: list[list[Sample]] = []
    for sample in sorted(samples, key=lambda sample: len(sample[0])):
        last = batches[-1] if batches else None
        if last is not None and (len(last) + 1) * _rounded(len(sample[0])) <= batch_tokens:
            last.append(sample)
        else:
            batches.append([sample])
    return batches


def _rounded(length: int) -> int:
    return -(-length // 32) * 32


def _padded(batch: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Put samples in one rectangle; padding is token 0 and weighs nothing."""
    width = _rounded(max(len(ids) for ids, _ in batch))
    tokens = torch.zeros(len(batch), width, dtype=torch.long)
    weights = torch.zeros(len(batch), width)
    for row, (ids, weight) in enumerate(batch):
        tokens[row, : len(ids)] = torch.tensor(ids)
        weights[row, : len(ids)] = torch.tensor(weight)
    return tokens, weights


@contextmanager
def _on_sigterm() -> Iterator[threading.Event]:
    """Turn SIGTERM into an event for a while; elsewhere than in the main thread, do nothing."""
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)

"""Train one cell, and measure it on the text that is held out.

Guarantees: stopped and called again it comes to the same bits as without a stop, on the same machine with the same number of
threads. Its batches depend on the cell's seed and the step alone.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agentkit.errors import JobError
from agentkit.jobs import write_atomic
from agentkit_training.llama import Llama
from agentkit_training.scaling.sweep.cells import Cell

__all__ = ["Trainer", "ids", "measure", "share_of_rate", "starts", "train"]

BETAS = (0.9, 0.99)  # small batches want a long memory of the second moment (Porian et al. 2024)
CLIP = 1.0
CHECKPOINT_S = 20.0
REPORT_S = 0.5
MEASURED = 65_536  # tokens that are held out and measured, at most
MEASURED_ROWS = 64


def ids(data: bytes) -> Tensor:
    """Return a text's bytes as token ids."""
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).astype(np.int64))


class Trainer:
    """A model, its optimiser and how many steps were taken: all that a checkpoint holds."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.done = cell, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cell.seed)
            self.model = Llama(cell.config)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=cell.rate, betas=BETAS, weight_decay=0.0, fused=True
        )

    def step(self, rows: Tensor) -> None:
        """Take one step on sequences of one token more than the context."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.cell.rate * share_of_rate(self.cell, self.done)
        _loss(self.model, rows).mean().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        content = {"done": self.done, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        data = io.BytesIO()
        torch.save(content, data)
        write_atomic(path, data.getvalue())

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        content = torch.load(path, weights_only=True)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.done = content["done"]


def train(
    cell: Cell,
    text: Tensor,
    held_out: Tensor,
    checkpoint: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[int], None] = lambda step: None,
) -> dict[str, Any] | None:
    """Train a cell and return its loss in nats a token with its standard error; None if it was stopped before its end.

    Args:
        cell: what to train.
        text: token ids to train on.
        held_out: token ids to measure on.
        checkpoint: a file to go on from, if it is there; written when stopped and now and then, gone at the end.
        stop: asked before each step.
        report: told how many steps are done, now and then.

    Raises:
        JobError: the loss is not finite, or the checkpoint cannot be written.
    """
    trainer = Trainer(cell)
    if checkpoint.exists():
        trainer.load(checkpoint)
    saved = told = time.monotonic()
    for first in islice(starts(cell, len(text)), trainer.done, cell.steps):
        if stop():
            trainer.save(checkpoint)
            return None
        trainer.step(_rows(text, first, cell.config.context))
        now = time.monotonic()
        if now - told >= REPORT_S:
            told = now
            report(trainer.done)
        if now - saved >= CHECKPOINT_S:
            saved = now
            trainer.save(checkpoint)
    loss, error = measure(trainer.model, held_out)
    if not math.isfinite(loss):
        raise JobError(f"{cell.params:,} parameters on {cell.tokens:,} tokens: the loss is {loss}; training diverged")
    checkpoint.unlink(missing_ok=True)
    return {"loss": loss, "loss_se": error}


def share_of_rate(cell: Cell, step: int) -> float:
    """Return the learning rate at a step, of the highest: up in a line, then down in a line to zero after the last step."""
    return min((step + 1) / cell.warmup, (cell.steps - step) / max(1, cell.steps - cell.warmup), 1.0)


def measure(model: Llama, held_out: Tensor) -> tuple[float, float]:
    """Return the mean loss over the first 65,536 tokens in nats a token, and its standard error from sequence to sequence."""
    context = model.config.context
    count = min(MEASURED, len(held_out) - 1) // context
    losses = []
    with torch.no_grad():
        for first in range(0, count, MEASURED_ROWS):
            starts = torch.arange(first, min(count, first + MEASURED_ROWS)) * context
            losses.append(_loss(model, _rows(held_out, starts, context)).double().mean(dim=1))
    each = torch.cat(losses)
    spread = float(each.std()) if count > 1 else math.nan
    return float(each.mean()), spread / math.sqrt(count)


def _loss(model: Llama, rows: Tensor) -> Tensor:
    """Return the loss of each token but the first of each row."""
    logits, goal = model(rows[:, :-1]), rows[:, 1:]
    return functional.cross_entropy(logits.flatten(0, 1), goal.flatten(), reduction="none").view(goal.shape)


def _rows(text: Tensor, starts: Tensor, context: int) -> Tensor:
    return text[starts[:, None] + torch.arange(context + 1)]


def starts(cell: Cell, size: int) -> Iterator[Tensor]:
    """Yield where the sequences of each step begin: each time through the text in another order and from another offset."""
    context, left = cell.config.context, torch.empty(0, dtype=torch.long)
    chance = torch.Generator().manual_seed(cell.seed)
    while True:
        while len(left) < cell.rows:
            offset = int(torch.randint(context, (), generator=chance)) if size > 2 * context else 0
            count = (size - 1 - offset) // context
            left = torch.cat((left, torch.randperm(count, generator=chance) * context + offset))
        yield left[: cell.rows]
        left = left[cell.rows :]

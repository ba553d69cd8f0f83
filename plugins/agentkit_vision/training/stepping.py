"""Optimiser steps that can be stopped and gone on with: each is a function of the seed and its number.

A checkpoint is one file that is there whole or as it was. With one thread, a training that was interrupted gives the same weights
to the bit.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from agentkit.errors import JobError
from agentkit.jobs import write_atomic

__all__ = ["Trainer", "chance"]

WARM_UP, FALLING = 0.05, 0.6  # shares of the steps: the rate rises, and falls to zero in a line
BETAS, DECAY, MOST = (0.9, 0.98), 0.02, 1.0  # of AdamW; gradients are cut to this length


def chance(seed: int, stage: str, step: int) -> np.random.Generator:
    """Return where the chance of one step comes from."""
    return np.random.default_rng([seed, step, *stage.encode()])


class Trainer:
    """AdamW over some networks.

    Args:
        module: what learns.
        loss: step number -> the loss of a batch.
        steps: how many there will be.
        rate: peak learning rate.
        name: of the checkpoint, and in messages.
    """

    def __init__(self, module: nn.Module, loss: Callable[[int], Tensor], *, steps: int, rate: float, name: str) -> None:
        self.module, self.steps, self.rate, self.name, self.step = module, steps, rate, name, 0
        self._loss = loss
        self._weights = [weight for weight in module.parameters() if weight.requires_grad]
        self._optimiser = torch.optim.AdamW(self._weights, rate, betas=BETAS, weight_decay=DECAY)

    @property
    def is_done(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps

    def advance(self) -> float:
        """Do one step; return its loss.

        Raises:
            JobError: the loss is no number any more.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = self.rate * share_of(self.step, self.steps)
        loss = self._loss(self.step)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise JobError(
                f"{self.name}, step {self.step + 1}: the loss is {value}; a lower rate than {self.rate:g} may help"
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._weights, MOST)
        self._optimiser.step()
        self.step += 1
        return value

    def save(self, folder: Path) -> None:
        """Write a checkpoint."""
        file = io.BytesIO()
        state = {"step": self.step, "module": self.module.state_dict(), "optimiser": self._optimiser.state_dict()}
        torch.save(state, file)
        write_atomic(folder / f"{self.name}.pt", file.getvalue())

    def restore(self, folder: Path) -> bool:
        """Go on from a checkpoint, if there is one; whether there was."""
        path = folder / f"{self.name}.pt"
        if not path.is_file():
            return False
        state = torch.load(path, weights_only=True)
        self.module.load_state_dict(state["module"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        return True


def share_of(step: int, steps: int) -> float:
    """Return the share of the peak rate at a step: up in a line, level, and down to zero in a line."""
    rising = (step + 1) / max(1, round(WARM_UP * steps))
    falling = (steps - step) / max(1, round(FALLING * steps))
    return min(1.0, rising, falling)

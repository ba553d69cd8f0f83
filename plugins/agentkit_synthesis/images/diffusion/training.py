"""Training a denoiser: one step after another, each a function of the seed and its number, so that resuming is exact.

A checkpoint is one file that is there whole or as it was. With one thread, training that was interrupted and resumed gives the
same weights to the bit. Loss: the mean square error of what is predicted (DDPM, arXiv 2006.11239), optionally weighted by
min-SNR (arXiv 2303.09556).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel, compute_snr
from torch import Tensor

from agentkit.errors import JobError
from agentkit.jobs import write_atomic
from agentkit_synthesis.images.diffusion.design import Design
from agentkit_synthesis.images.diffusion.network import Denoiser, dropped, nulled
from agentkit_synthesis.images.diffusion.sampling import scheduler_for
from agentkit_synthesis.images.labelled import LabelledImages

__all__ = ["Recipe", "Trainer", "as_tensor", "diffusion_loss", "fit"]

WARMUP = 100  # steps that the rate rises in
BETAS, MAX_NORM = (0.9, 0.99), 1.0
CHECKPOINT = "diffusion.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        steps: of the optimiser.
        batch: images a step.
        rate: peak learning rate of AdamW; falls to zero as a cosine.
        drop: share of rows whose labels are all dropped, for guidance.
        ema: most of the average that stays, a step.
        min_snr: gamma of the min-SNR weights; None: all weigh the same.
        save_every: steps between checkpoints.
        precision: of the passes through the network; weights are float32 in both.
        seed: of weights, order, noise and timesteps.
    """

    steps: int
    batch: int = 64
    rate: float = 1e-3
    drop: float = 0.15
    ema: float = 0.995
    min_snr: float | None = None
    save_every: int = 200
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0


def as_tensor(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """Return (N, H, W, C) uint8 as (N, C, H, W) float32 from -1 to 1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def diffusion_loss(
    network: Callable[[Tensor, Tensor, Tensor], Tensor],
    scheduler: DDPMScheduler,
    clean: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
    min_snr: float | None = None,
) -> Tensor:
    """Return the loss of one batch, a scalar.

    Args:
        network: (noisy, timestep (B,), labels) -> prediction of the scheduler's `prediction_type`.
        scheduler: the forward process.
        clean: (B, C, H, W).
        labels: (B, attributes), dropped where they are to be.
        generator: of timesteps and noise.
        min_snr: gamma; the weight is min(SNR, gamma) over SNR for noise, over SNR + 1 for velocity, over 1 for images.
    """
    timestep = torch.randint(scheduler.config.num_train_timesteps, (len(clean),), generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    found = network(scheduler.add_noise(clean, noise, timestep), timestep, labels).float()
    kind = scheduler.config.prediction_type
    wanted = (
        noise if kind == "epsilon" else clean if kind == "sample" else scheduler.get_velocity(clean, noise, timestep)
    )
    each = (found - wanted).square().mean(dim=(1, 2, 3))
    if min_snr is None:
        return each.mean()
    snr = compute_snr(scheduler, timestep)
    over = snr if kind == "epsilon" else torch.ones_like(snr) if kind == "sample" else snr + 1
    return (each * snr.clamp(max=min_snr) / over).mean()


class Trainer:
    """A denoiser under training, with its average; `step` is how many steps were done."""

    def __init__(self, images: LabelledImages, design: Design, recipe: Recipe) -> None:
        self.design, self.recipe, self.step = design, recipe, 0
        self._pixels = images.pixels  # made floats batch by batch
        self._labels = nulled(torch.from_numpy(images.table), design.nulls)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = Denoiser(design)
        self.scheduler = scheduler_for(design)
        self._optimiser = torch.optim.AdamW(self.network.parameters(), recipe.rate, betas=BETAS, weight_decay=0.0)
        self._average = EMAModel(self.network.parameters(), decay=recipe.ema, foreach=True)

    def advance(self) -> float:
        """Do one step; return its loss.

        Raises:
            JobError: the loss is no number any more.
        """
        chance = torch.Generator().manual_seed(_mixed(self.recipe.seed, self.step))
        rows = self._rows()
        labels = dropped(self._labels[rows], self.design.nulls, self.recipe.drop, generator=chance)
        clean = as_tensor(self._pixels[rows.numpy()])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            loss = diffusion_loss(
                self.network, self.scheduler, clean, labels, generator=chance, min_snr=self.recipe.min_snr
            )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise JobError(
                f"step {self.step + 1}: the loss is {value}; a lower learning rate than {self.recipe.rate:g} may help"
            )
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.rate * self._share(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
        self._optimiser.step()
        self._average.step(self.network.parameters())
        self.step += 1
        return value

    def averaged(self) -> Denoiser:
        """Return the network with its averaged weights, for sampling."""
        found = Denoiser(self.design)
        found.load_state_dict(self.network.state_dict())
        self._average.copy_to(found.parameters())
        found.eval().requires_grad_(False)
        return found

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        buffer = io.BytesIO()
        state = {"step": self.step, "network": self.network.state_dict(), "optimiser": self._optimiser.state_dict()}
        torch.save({**state, "average": self._average.state_dict()}, buffer)
        write_atomic(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same design and recipe."""
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._average.load_state_dict(state["average"])
        self.step = int(state["step"])

    def _rows(self) -> Tensor:
        """Return the rows of this step's batch: one random order after another of all images."""
        count, first = len(self._pixels), self.step * self.recipe.batch
        wanted = range(first, first + self.recipe.batch)
        orders = {epoch: _order(self.recipe.seed, epoch, count) for epoch in {place // count for place in wanted}}
        return torch.tensor([int(orders[place // count][place % count]) for place in wanted])

    def _share(self, step: int) -> float:
        warm = min(WARMUP, max(1, self.recipe.steps // 10))
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.recipe.steps - warm)))


def fit(
    trainer: Trainer, folder: Path, *, told: Callable[[int, float], None], should_stop: Callable[[], bool]
) -> Denoiser | None:
    """Train to the end, from the checkpoint in `folder` if there is one; return the averaged network, or None if stopped."""
    path = folder / CHECKPOINT
    if path.exists():
        trainer.load(path)
    while trainer.step < trainer.recipe.steps:
        loss = trainer.advance()
        told(trainer.step, loss)
        stop = should_stop()
        if stop or trainer.step % trainer.recipe.save_every == 0 or trainer.step == trainer.recipe.steps:
            trainer.save(path)
        if stop and trainer.step < trainer.recipe.steps:
            return None
    return trainer.averaged()


def _order(seed: int, epoch: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng((seed, epoch)).permutation(count)


def _mixed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)

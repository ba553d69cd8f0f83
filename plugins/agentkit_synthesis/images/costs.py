"""What training and sampling will cost on this machine, from a step or two of the real shape."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from agentkit_synthesis.images.diffusion.design import Design
from agentkit_synthesis.images.diffusion.network import Denoiser
from agentkit_synthesis.images.diffusion.training import Recipe, Trainer
from agentkit_synthesis.images.labelled import LabelledImages
from agentkit_synthesis.images.verifying.classifier import Classifier

__all__ = ["Costs", "sampling_cost", "training_cost"]

PROGRAM = 700 << 20  # bytes of a process that has torch and diffusers
TRIES = 1.2  # candidates for each image that is kept, in trials: so many with one attribute, to the power of several
START_S = 6.0  # imports, and reading or drawing the images


@dataclass(frozen=True, slots=True)
class Costs:
    """Predicted: floating-point operations, seconds, and bytes in memory and on disk."""

    flops: float = 0.0
    seconds: float = 0.0
    memory_bytes: int = PROGRAM
    disk_bytes: int = 0

    def __add__(self, other: Costs) -> Costs:
        """Return the cost of both, one after the other."""
        return Costs(
            self.flops + other.flops,
            self.seconds + other.seconds,
            max(self.memory_bytes, other.memory_bytes),
            self.disk_bytes + other.disk_bytes,
        )


def training_cost(design: Design, recipe: Recipe, judge_steps: int, images: int, threads: int) -> Costs:
    """Return what training the judge and a model costs."""
    some = _noise(design, recipe.batch)
    torch.set_num_threads(threads)
    trainer = Trainer(some, design, recipe)
    step = _timed(trainer.advance)
    judge = Classifier(design.channels, design.size, design.values)
    clean = torch.randn(recipe.batch, design.channels, design.size, design.size)

    def judged() -> None:
        _, logits = judge(clean)
        torch.stack([one.square().mean() for one in logits]).sum().backward()

    with FlopCounterMode(display=False) as counter:
        trainer.advance()
    weights = sum(one.numel() for one in trainer.network.parameters()) * 4
    pixels = images * design.size**2 * design.channels
    return Costs(
        flops=float(counter.get_total_flops()) * recipe.steps,
        seconds=START_S + step * recipe.steps + _timed(judged) * judge_steps,
        memory_bytes=PROGRAM + 6 * weights + 6 * pixels + recipe.batch * 64 * design.size**2 * design.widths[0],
        disk_bytes=8 * weights + 5 * pixels,
    )


def sampling_cost(
    design: Design, count: int, *, at_once: int, steps: int, guidance: float, threads: int, precision: str
) -> Costs:
    """Return what making images costs."""
    torch.set_num_threads(threads)
    passes = 1 if guidance in (0.0, 1.0) else 2
    network = Denoiser(design).eval()
    shape = (at_once * passes, design.channels, design.size, design.size)
    labels = torch.zeros(shape[0], len(design.values), dtype=torch.int64)

    def forward() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            network(torch.zeros(shape), torch.zeros(shape[0], dtype=torch.int64), labels)

    batches = int(np.ceil(count * TRIES ** len(design.values) / at_once))
    with FlopCounterMode(display=False) as counter:
        forward()
    return Costs(
        flops=float(counter.get_total_flops()) * steps * batches,
        seconds=START_S + _timed(forward) * steps * batches,
        memory_bytes=PROGRAM + 64 * shape[0] * design.size**2 * design.widths[0],
        disk_bytes=count * (design.size**2 * design.channels + 1000),
    )


def _timed(work: Callable[[], object]) -> float:
    """Return the seconds of the quicker of two, after one to warm up."""
    work()
    found = []
    for _ in range(2):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def _noise(design: Design, count: int) -> LabelledImages:
    shape = (count, design.size, design.size, design.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return LabelledImages(
        pixels=pixels,
        labels={name: np.zeros(count, np.int64) for name in design.values},
        values=design.values,
        names=("",) * count,
        source="noise",
    )

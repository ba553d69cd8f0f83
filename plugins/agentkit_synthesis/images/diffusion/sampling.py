"""From noise to images: classifier-free guidance and the loop around diffusers' schedulers.

Guidance is `uncond + s * (cond - uncond)` (the usual scale s; Ho and Salimans, arXiv 2207.12598, write w = s - 1). s = 1 is the
conditional prediction exactly, s = 0 the unconditional; both then take one pass of the network instead of two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from agentkit_synthesis.images.diffusion.design import Design

__all__ = ["Predict", "guided", "noise_for", "run_sampler", "sampler_for", "scheduler_for"]

Predict = Callable[[Tensor, Tensor], Tensor]  # noisy images (B, ...) and a timestep () -> what the scheduler takes
Network = Callable[[Tensor, Tensor, Tensor], Tensor]
SEEDS = 2**63 - 1


def scheduler_for(design: Design) -> DDPMScheduler:
    """Return the forward process of a design; betas from 1e-4 to 0.02 where they are linear."""
    return DDPMScheduler(
        num_train_timesteps=design.timesteps,
        beta_schedule=design.schedule,
        prediction_type=design.prediction,
        timestep_spacing="trailing",
        clip_sample=True,
    )


def sampler_for(scheduler: DDPMScheduler, kind: Literal["ddim", "ddpm"]) -> Any:
    """Return the sampler that inverts a forward process: DDIM (arXiv 2010.02502) with eta 0, or ancestral DDPM."""
    if kind == "ddpm":
        return DDPMScheduler.from_config(scheduler.config)
    known = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type", "timestep_spacing")
    config = {name: scheduler.config[name] for name in known}
    # diffusers' DDIM clips the image but not the noise that goes with it: guided samples then drift to other classes
    return DDIMScheduler(**config, clip_sample=False)


def guided(network: Network, labels: Tensor, nulls: Sequence[int], scale: float) -> Predict:
    """Return the guided prediction of a network for labels (B, attributes).

    Args:
        network: (noisy, timestep (B,), labels) -> prediction.
        labels: what is asked for; an attribute's null where it does not matter.
        nulls: for each attribute the index that means `not given`.
        scale: s above; 0 or more.
    """
    without = torch.tensor(nulls).expand_as(labels)
    if scale in (0.0, 1.0):
        one = labels if scale == 1.0 else without
        return lambda noisy, timestep: network(noisy, timestep.expand(len(noisy)), one).float()
    both = torch.cat([without, labels])

    def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
        found = network(torch.cat([noisy, noisy]), timestep.expand(len(both)), both).float()
        unconditional, conditional = found.chunk(2)
        return unconditional + scale * (conditional - unconditional)

    return predict


@torch.inference_mode()  # type: ignore[untyped-decorator]
def run_sampler(
    predict: Predict, sampler: Any, noise: Tensor, *, steps: int, generators: Sequence[torch.Generator] | None = None
) -> Tensor:
    """Return samples of the shape of `noise`.

    Args:
        predict: see `Predict`.
        sampler: a scheduler of diffusers; its timesteps are set here.
        noise: (B, ...), standard normal.
        steps: passes; at most the forward process has.
        generators: one for each sample, for samplers that add noise.
    """
    sampler.set_timesteps(steps)
    extra = {} if generators is None else {"generator": list(generators)}
    found = noise * sampler.init_noise_sigma
    for timestep in sampler.timesteps:
        found = sampler.step(predict(found, timestep), timestep, found, **extra).prev_sample
    return found


def noise_for(seeds: Sequence[int], shape: Sequence[int]) -> tuple[Tensor, list[torch.Generator]]:
    """Return each seed's own noise, (seeds, *shape), and its generator for what follows."""
    generators = [torch.Generator().manual_seed(seed % SEEDS) for seed in seeds]
    return torch.stack([torch.randn(*shape, generator=one) for one in generators]), generators

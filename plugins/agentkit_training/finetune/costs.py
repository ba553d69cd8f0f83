"""What a training will cost on this machine: FLOPs counted, seconds measured on a step of the same shape, memory reckoned.

A step is timed on models of one layer and of two, with random weights: their difference is what a layer costs, and the first
less a layer is the rest, so that a deep model need not be built. The time is that of two such steps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from agentkit.errors import ModelFileError
from agentkit_training.finetune.bases import Base

__all__ = ["Costs", "Shape", "costs", "padded", "parameters"]

PROGRAM = 750 << 20  # bytes of a process that has torch, transformers and trl, measured
STEP_OVERHEAD_S = 0.02  # of the trainer: batches, logging, the scheduler
START_S = 8.0  # imports, tokens, the dataset
LARGE = 400_000_000  # parameters of a two-layer model that is not built for a try
BYTES = 4  # a number in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is read by the whole training.

    Attributes:
        steps: of the optimiser.
        sequences: in one forward and backward pass.
        length: of them, padding included.
        passes: forward and backward passes a step.
        forwards: passes without a backward in the whole run, of the same size: the reference's, the evaluations'.
        lora_rank: 0 where all weights are trained.
        checkpoints: kept on disk at once.
        generated: tokens that are sampled one after another in the whole run.
    """

    steps: int
    sequences: int
    length: int
    passes: int = 1
    forwards: float = 0.0
    lora_rank: int = 0
    checkpoints: int = 2
    generated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Predicted for the whole training."""

    flops: float
    seconds: float
    memory_bytes: int
    disk_bytes: int


def padded(lengths: Sequence[int], batch: int, *, seed: int = 0) -> int:
    """Return the mean over random batches of the longest sequence in one, in tokens."""
    if not lengths:
        return 1
    drawn = np.random.default_rng(seed).choice(np.asarray(lengths), size=(256, batch))
    return max(1, round(float(drawn.max(axis=1).mean())))


def costs(base: Base, shape: Shape) -> Costs:
    """Return what a training of this shape will cost.

    Raises:
        ModelFileError: transformers does not know the architecture.
    """
    config = _config(base)
    tokens = shape.sequences * shape.length
    passes = shape.steps * shape.passes
    flops = _flops_per_token(config, shape.length) * tokens * (passes + shape.forwards / 3)
    forward, both = _measured(config, shape)
    seconds = START_S + passes * (both + STEP_OVERHEAD_S) + shape.forwards * forward
    if shape.generated:
        seconds += shape.generated * _measured(config, Shape(steps=1, sequences=shape.sequences, length=1))[0]
    weights = parameters(config)
    trained = weights if not shape.lora_rank else _lora_parameters(config, shape.lora_rank)
    return Costs(
        flops=flops,
        seconds=round(seconds, 1),
        memory_bytes=round(PROGRAM + BYTES * (weights + 3 * trained) + _activations(config, shape)),
        disk_bytes=round(BYTES * ((1 + shape.checkpoints) * trained + shape.checkpoints * 2 * trained)),
    )


def parameters(config: Any) -> int:
    """Return how many weights a model has, without making them."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    return sum(one.numel() for one in model.parameters())


def _config(base: Base) -> Any:
    where = base.under().folder
    try:
        config = AutoConfig.from_pretrained(where, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelFileError(
            f"{where}: transformers does not know this model ({str(error).splitlines()[0]}); update transformers, or give another"
        ) from error
    return config.get_text_config()


def _flops_per_token(config: Any, length: int) -> float:
    """Return training FLOPs a token: three times the forward pass's, head included, attention not halved for causality.

    From TRL's `compute_flops_per_token`; 6 N where a configuration lacks what that reads.
    """
    from trl.trainer.utils import compute_flops_per_token  # noqa: PLC0415  heavy, and no public name

    try:
        return float(compute_flops_per_token(config, length))
    except AttributeError:
        return 6.0 * parameters(config)


def _measured(config: Any, shape: Shape) -> tuple[float, float]:
    """Return the seconds of a forward pass, and of a forward and backward pass with its share of the update."""
    one, two = (_shallow(config, layers) for layers in (1, 2))
    if parameters(two) > LARGE:
        rate = _matmul_rate(config.hidden_size)
        both = _flops_per_token(config, shape.length) * shape.sequences * shape.length / rate
        return both / 3, both
    first, second = (_timed(each, shape) for each in (one, two))
    deeper = config.num_hidden_layers - 1
    forward = first[0] + deeper * max(0.0, second[0] - first[0])
    both = first[1] + deeper * max(0.0, second[1] - first[1])
    return forward, both


def _shallow(config: Any, layers: int) -> Any:
    told = config.to_dict() | {"num_hidden_layers": layers}
    if told.get("layer_types"):
        told["layer_types"] = told["layer_types"][:layers]
    return type(config).from_dict(told)


def _timed(config: Any, shape: Shape) -> tuple[float, float]:
    """Return the seconds of a forward pass and of a whole step of a model with random weights; the quicker of two tries."""
    model = AutoModelForCausalLM.from_config(config).train()
    update = torch.optim.AdamW(model.parameters(), foreach=True)
    tokens = torch.zeros((shape.sequences, max(2, shape.length)), dtype=torch.long)
    found = []
    for _ in range(3):
        begun = time.perf_counter()
        with torch.no_grad():
            model(input_ids=tokens)
        between = time.perf_counter()
        model(input_ids=tokens, labels=tokens).loss.backward()
        update.step()
        update.zero_grad()
        found.append((between - begun, time.perf_counter() - between))
    return min(one for one, _ in found[1:]), min(one for _, one in found[1:])


def _matmul_rate(width: int) -> float:
    """Return the FLOPs a second of matrix products of this width."""
    left, right = torch.randn(512, width), torch.randn(width, width)
    left @ right
    begun = time.perf_counter()
    left @ right
    return 2.0 * 512 * width * width / max(1e-9, time.perf_counter() - begun)


def _lora_parameters(config: Any, rank: int) -> int:
    """Return the weights of a LoRA on all linear layers."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    wide, inner = config.hidden_size, config.intermediate_size
    ends = 2 * (wide + queries) + 2 * (wide + keys) + 3 * (wide + inner)
    return int(rank * ends * config.num_hidden_layers)


def _activations(config: Any, shape: Shape) -> float:
    """Return bytes that the backward pass needs: what each layer keeps a token, and the head's scores.

    Per layer and token about 16 times the width and 5 times the inner width (Korthikanti et al. 2022, arXiv 2205.05198,
    equation 1, in float32 and without the attention's own matrix, which is not kept).
    """
    tokens = shape.sequences * shape.length
    kept = config.num_hidden_layers * (16 * config.hidden_size + 5 * config.intermediate_size)
    return float(BYTES * tokens * (kept + 3 * config.vocab_size))

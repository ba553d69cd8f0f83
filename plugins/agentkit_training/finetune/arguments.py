"""From our parameters to TRL's and PEFT's: one place for the names and for the defaults that hurt."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkit_training.finetune.params import DpoParams, GrpoParams, RewardParams, SftParams, TrainParams

__all__ = ["arguments", "learning_rate", "lora", "precision", "steps"]

SMALL = 100_000_000  # parameters
RATES: Mapping[type[TrainParams], tuple[float, float]] = {  # small models, others; measured on sprout, else TRL's
    SftParams: (3e-4, 2e-5),
    DpoParams: (5e-5, 1e-6),
    RewardParams: (3e-4, 1e-5),
    GrpoParams: (5e-5, 1e-6),
}
LORA_TIMES = 10  # a LoRA takes about ten times the rate (Schulman et al. 2025, LoRA Without Regret)
EVALUATIONS = 5  # in the course of a run, besides the first


def learning_rate(params: TrainParams, parameters: int) -> float:
    """Return the rate asked for, or that for the method and the model's size."""
    if params.learning_rate is not None:
        return params.learning_rate
    small, others = RATES[type(params)]
    return (small if parameters < SMALL else others) * (LORA_TIMES if params.lora_rank else 1)


def steps(params: TrainParams, rows: int) -> int:
    """Return how many optimiser steps there are."""
    if params.steps is not None:
        return params.steps
    sequences = rows * (params.generations if isinstance(params, GrpoParams) else 1)
    batches = math.ceil(sequences / (params.batch * params.processes))
    return max(1, math.ceil(math.ceil(batches / params.accumulate) * params.epochs))


def precision(params: TrainParams) -> str:
    """Return what to compute in: float32 on the CPU, bfloat16 on a GPU that has it."""
    import torch  # noqa: PLC0415  heavy

    if params.precision != "auto":
        return params.precision
    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def lora(params: TrainParams, *, scores: bool) -> Any:
    """Return PEFT's configuration, or None where all weights are trained. The head is never adapted: TRL would not train it."""
    if not params.lora_rank:
        return None
    from peft import LoraConfig  # noqa: PLC0415  heavy

    return LoraConfig(
        r=params.lora_rank,
        lora_alpha=params.lora_alpha or 2 * params.lora_rank,
        lora_dropout=0.0,
        target_modules=list(params.lora_targets) or "all-linear",
        task_type="SEQ_CLS" if scores else "CAUSAL_LM",
    )


def arguments(params: TrainParams, folder: Path, *, total: int, rate: float, max_length: int, evaluates: bool) -> Any:
    """Return TRL's configuration for a job whose checkpoints go to `folder`.

    bf16, gradient checkpointing and pinned memory are on by default in TRL, and fail or slow down a CPU; NaN is filtered out
    of the log by default, and must be seen.
    """
    import torch  # noqa: PLC0415  heavy
    import trl  # noqa: PLC0415

    common = {
        "output_dir": str(folder),
        "per_device_train_batch_size": params.batch,
        "per_device_eval_batch_size": params.batch,
        "gradient_accumulation_steps": params.accumulate,
        "max_steps": total,
        "learning_rate": rate,
        "lr_scheduler_type": params.schedule,
        "warmup_steps": round(params.warmup * total),
        "weight_decay": params.weight_decay,
        "max_grad_norm": params.max_grad_norm,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": params.save_every,
        "save_total_limit": 2,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": max(1, math.ceil(total / EVALUATIONS)),
        "eval_on_start": evaluates,
        "seed": params.seed,
        "data_seed": params.seed,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": precision(params) == "bfloat16",
        "gradient_checkpointing": params.gradient_checkpointing,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "disable_tqdm": True,
        "report_to": _report_to(folder),
        "ddp_backend": "gloo" if _launched() and not torch.cuda.is_available() else None,
    }
    match params:
        case DpoParams():
            return trl.DPOConfig(**common, max_length=max_length, **_dpo(params))
        case SftParams():
            return trl.SFTConfig(**common, max_length=max_length, packing=params.packing)
        case RewardParams():
            return trl.RewardConfig(**common, max_length=max_length, center_rewards_coefficient=params.centre)
        case _:
            return trl.GRPOConfig(**common, **_grpo(params))


def _dpo(params: DpoParams) -> dict[str, Any]:
    return {
        "loss_type": list(params.loss),
        "loss_weights": None if params.loss_weights is None else list(params.loss_weights),
        "beta": params.beta,
        "label_smoothing": params.label_smoothing,
        "f_divergence_type": params.divergence,
        # the model's own log-probabilities before the first step, also in a run that was resumed: TRL takes them
        # before it reads the checkpoint; it would otherwise load whatever `_name_or_path` names as the reference
        "precompute_ref_log_probs": params.reference is None,
    }


def _grpo(params: TrainParams) -> dict[str, Any]:
    assert isinstance(params, GrpoParams)
    return {
        "num_generations": params.generations,
        "max_completion_length": params.completion_length,
        "temperature": params.temperature,
        "beta": params.beta,
    }


def _report_to(folder: Path) -> str:
    """Return TensorBoard where it is installed; its files go beside the checkpoints."""
    if importlib.util.find_spec("tensorboard") is None:
        return "none"
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder.parent / "tensorboard")
    return "tensorboard"


def _launched() -> bool:
    """Whether this is one of several processes that a launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1

"""What a fine-tuning would do, resolved, and what it would cost."""

from __future__ import annotations

import math
from typing import Any

from agentkit.jobs import JobPlan
from agentkit_training.finetune.arguments import EVALUATIONS, precision, steps
from agentkit_training.finetune.bases import find_base, load_tokenizer
from agentkit_training.finetune.costs import Shape, costs, padded
from agentkit_training.finetune.data import Data, read_data
from agentkit_training.finetune.params import DpoParams, GrpoParams, TrainParams
from agentkit_training.finetune.rewards import find_reward
from agentkit_training.finetune.training import KINDS

__all__ = ["planned"]

FREE = {"out", "force", "threads"}  # what the result does not depend on


def planned(params: TrainParams) -> JobPlan:
    """Return the plan of checked parameters.

    Raises:
        InvalidParams, ModelFileError, OfflineModelUnavailable: a file, a row or the base cannot be used.
    """
    base = find_base(params.model, weights=False)
    data = read_data(params, KINDS[type(params)], base, load_tokenizer(base))
    if isinstance(params, GrpoParams):
        find_reward(params.reward, list(data.train[0]))
    total = steps(params, len(data.train))
    found = costs(base, shape_of(params, data, total))
    told = {name: value for name, value in params.model_dump(mode="json").items() if name not in FREE}
    config: dict[str, Any] = {
        **told,
        "model": base.sha256,
        "data": data.sha256,
        "eval_data": None,
        "steps": total,
        "rows": len(data.train),
        "rows_held_out": len(data.eval),
        "max_length": data.max_length,
        "precision": precision(params),
    }
    return JobPlan(
        config=config,
        flops=found.flops,
        seconds=found.seconds,
        memory_bytes=found.memory_bytes,
        disk_bytes=found.disk_bytes,
        backend=_backend(params),
        why=_why(params, base.provenance, total, data),
    )


def shape_of(params: TrainParams, data: Data, total: int) -> Shape:
    """Return what the whole training reads."""
    pairs = KINDS[type(params)] == "preference"
    each = [length // 2 for length in data.lengths] if pairs else list(data.lengths)
    sequences = params.batch * (2 if pairs else 1)
    generated = params.completion_length if isinstance(params, GrpoParams) else 0
    passes = params.accumulate
    evaluated = math.ceil(len(data.eval) / params.batch) * (EVALUATIONS + 1)
    referred = 0.0
    if isinstance(params, DpoParams):
        referred = (len(data.train) + len(data.eval)) / params.batch if params.reference is None else total * passes
    return Shape(
        steps=total,
        sequences=sequences,
        length=padded(each, sequences) + generated,
        passes=passes,
        forwards=evaluated + referred,
        lora_rank=params.lora_rank,
        generated=total * passes * generated // max(1, getattr(params, "generations", 1)),
    )


def _backend(params: TrainParams) -> str:
    import torch  # noqa: PLC0415  heavy

    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
    return f"trl on {where}" + (f", {params.processes} processes" if params.processes > 1 else "")


def _why(params: TrainParams, provenance: str, total: int, data: Data) -> str:
    return f"{params.model} ({provenance}); {total} steps of {params.batch * params.accumulate * params.processes} of {len(data.train)} rows"

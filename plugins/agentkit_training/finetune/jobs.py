"""Fine-tuning as jobs: what `agentkit train sft|dpo|reward|grpo` and the tools of those names start.

The model is made in the run folder and stands where it was asked for once all is done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams
from agentkit.jobs import Job, JobContext, JobPlan
from agentkit_training.finetune.params import DpoParams, GrpoParams, RewardParams, SftParams, TrainParams

__all__ = ["DPO", "GRPO", "REWARD", "SFT"]


def plan(kind: type[TrainParams], params: Mapping[str, Any]) -> JobPlan:
    """Return what a training would do and cost; reads the data, and tries a step of a model of the shape.

    Raises:
        InvalidParams: a parameter, a file or a row cannot be used.
        MissingDependency: the extra is not installed.
        OfflineModelUnavailable: the base is not here.
    """
    from agentkit_training import plugin  # noqa: PLC0415

    plugin.require()
    from agentkit_training.finetune.planning import planned  # noqa: PLC0415  heavy

    checked = kind.parse(params)
    _free(checked.out, force=checked.force)
    return planned(checked)


def run(kind: type[TrainParams], params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Train, draw the curves, and put the model where it was asked for."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from agentkit_training.finetune.curves import draw  # noqa: PLC0415  heavy

    checked = kind.parse(params)
    made = context.run_dir / "model"
    figures = _fit(checked, context, made)
    draw(context.run_dir / "metrics.jsonl", context.artifact_dir / "curves.png")
    if figures["steps"] and made.exists():
        from agentkit_training.finetune.card import write_card  # noqa: PLC0415

        write_card(made / "README.md", kind.__name__.removesuffix("Params"), checked, figures)
        checked.out.parent.mkdir(parents=True, exist_ok=True)
        if checked.out.exists():
            shutil.rmtree(checked.out)
        shutil.move(made, checked.out)
        for path in sorted(checked.out.iterdir()):
            context.artifact(path, "model")
    return figures


def _fit(params: TrainParams, context: JobContext, made: Path) -> dict[str, Any]:
    if params.processes > 1 or params.accelerate is not None:
        from agentkit_training.finetune.parallel import fit_in_parallel  # noqa: PLC0415  heavy

        return fit_in_parallel(params, context.checkpoint_dir, made, context)
    from agentkit_training.finetune.training import fit  # noqa: PLC0415  heavy

    return fit(params, context.checkpoint_dir, made, context)


def _free(out: Path, *, force: bool) -> None:
    if out.exists() and not (force and out.is_dir()):
        raise InvalidParams(f"/out: {out} exists; name another folder, or force it")


def _job(name: str, kind: type[TrainParams]) -> Job:
    home = f"agentkit_training.finetune.jobs:{name.upper()}"
    return Job(name=name, home=home, plan=partial(plan, kind), run=partial(run, kind))


SFT = _job("sft", SftParams)
DPO = _job("dpo", DpoParams)
REWARD = _job("reward", RewardParams)
GRPO = _job("grpo", GrpoParams)

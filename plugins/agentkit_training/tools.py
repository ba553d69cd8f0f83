"""Training as tools: each is a job of this package under the name that its command has, and `fine_tune` chooses the method.

What people say is "fine-tune on this file"; which method that means, the file's columns say: pairs of answers are for DPO,
texts and conversations for SFT. A model need not know the difference, and a small one does not. The tools named after methods are
for who asks for one.

Importing this module loads nothing heavy; a call does. A further job becomes a tool by a function here that says what is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from agentkit.errors import InvalidParams
from agentkit.job_tools import Wanted, job_tool, within
from agentkit.protocols import Tool, ToolContext
from agentkit_training.tool_models import local_model
from agentkit_training.tool_texts import result_texts

__all__ = ["TOOLS"]

QUANTISED = Literal["q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"]
# What the names can look like: a decoder that is held to it cannot take one for another.
Rows = Annotated[str, Field(pattern=r"\.(jsonl|json|parquet)$")]
Model = Annotated[
    str, Field(pattern=r"(^|/)[A-Za-z_][\w-]*(\.\d[\w.-]*)?/?$")
]  # a folder, or an id: no ending but a version
Gguf = Annotated[str, Field(pattern=r"^[^:]+\.gguf$")]
METHODS = {"preference": "dpo", "text": "sft"}  # by what a file's rows are for


@job_tool(
    result_texts,
    data="context",
    model="trusted",
    keywords="#file # finetune train tune teach coach learn adapt improve optimise optimize better preference",
)
def fine_tune(
    data: Rows, context: ToolContext, steps: int | None = None, model: Model | None = None, out: Model | None = None
) -> Wanted:
    """Fine-tune a model on a data file and compare it before and after.

    Args:
        data: the rows, .jsonl or .parquet: pairs of answers, conversations, or texts.
        steps: how many optimiser steps; all rows once if left out.
        model: what to start from: sprout if left out, or a folder.
        out: folder for the new model; named after the data if left out.
    """
    from agentkit_training.finetune.rows import sort_of  # noqa: PLC0415  pydantic comes with a call

    sort = sort_of(within(data, context.workspace))
    if sort not in METHODS:
        raise InvalidParams(
            f"/data: {data} has prompts alone, which train by a reward: call grpo; or give it answers, as `completion`"
        )
    return _training(METHODS[sort], data, context, model, out, {"steps": steps})


@job_tool(result_texts, data="context", model="trusted", keywords="supervised imitate")
def sft(
    data: Rows, context: ToolContext, steps: int | None = None, model: Model | None = None, out: Model | None = None
) -> Wanted:
    """Run SFT on conversations or texts.

    Args:
        data: .jsonl or .parquet with `messages`, or `prompt` and `completion`, or `text`.
        steps: how many optimiser steps; all rows once if left out.
        model: what to start from: sprout if left out, or a folder.
        out: folder for the new model; named after the data if left out.
    """
    return _training("sft", data, context, model, out, {"steps": steps})


@job_tool(result_texts, data="context", model="trusted", keywords="preference optimisation optimization")
def dpo(
    data: Rows, context: ToolContext, steps: int | None = None, model: Model | None = None, out: Model | None = None
) -> Wanted:
    """Run DPO on pairs of a chosen and a rejected answer.

    Args:
        data: .jsonl or .parquet with `prompt`, `chosen` and `rejected`.
        steps: how many optimiser steps; all rows once if left out.
        model: what to start from: sprout if left out, or a folder.
        out: folder for the new model; named after the data if left out.
    """
    return _training("dpo", data, context, model, out, {"steps": steps})


@job_tool(result_texts, data="context", model="trusted", keywords="scorer judge")
def reward(
    data: Rows, context: ToolContext, steps: int | None = None, model: Model | None = None, out: Model | None = None
) -> Wanted:
    """Make a reward model, which judges answers.

    Args:
        data: .jsonl or .parquet with `prompt`, `chosen` and `rejected`.
        steps: how many optimiser steps; all rows once if left out.
        model: what to start from: sprout if left out, or a folder.
        out: folder for the reward model; named after the data if left out.
    """
    return _training("reward", data, context, model, out, {"steps": steps})


@job_tool(result_texts, data="context", model="trusted", keywords="reinforcement RL")
def grpo(
    data: Rows, context: ToolContext, steps: int | None = None, model: Model | None = None, out: Model | None = None
) -> Wanted:
    """Run GRPO on prompts with answers that can be checked.

    Args:
        data: .jsonl or .parquet with `prompt` and `answer`; numbers are rewarded as numbers, else the exact answer is.
        steps: how many optimiser steps; all rows once if left out.
        model: what to start from: sprout if left out, or a folder.
        out: folder for the new model; named after the data if left out.
    """
    from agentkit_training.finetune.rows import read_rows  # noqa: PLC0415  pydantic comes with a call

    answers = [row.data.get("answer") for row in read_rows(within(data, context.workspace), "prompts").rows]
    reward = "number" if all(_is_number(answer) for answer in answers) else "exact"
    return _training("grpo", data, context, model, out, {"steps": steps, "reward": reward})


@job_tool(result_texts, writes=False, data="context", model="trusted", keywords="#file perplexity")
def evaluate(data: Rows, context: ToolContext, model: Model | None = None) -> Wanted:
    """Evaluate how good a model is on a data file.

    Args:
        data: .jsonl or .parquet: pairs of answers, conversations, or texts.
        model: sprout if left out, or a folder.
    """
    path, name = within(data, context.workspace), local_model(model or "sprout", context.workspace)
    return Wanted(
        home="agentkit_training.finetune.evaluating:EVALUATE",
        params={"data": str(path), "model": name},
        about=path,
        reads=(path, *_folders(name)),
    )


@job_tool(result_texts, model="context", keywords="convert")
def export_gguf(
    model: Model, context: ToolContext, type: Literal["f16", "f32", "q8_0"] | None = None, out: Gguf | None = None
) -> Wanted:
    """Export a model's folder as a GGUF file.

    Args:
        model: the folder, or sprout.
        type: kind of number in the file; f16 if left out.
        out: the file; named after the folder if left out.
    """
    name = local_model(model, context.workspace)
    kind = type or "f16"
    return Wanted(
        home="agentkit_training.export.jobs:EXPORT_GGUF",
        params={"model": name, "type": kind},
        about=Path(name),
        out=_out(out, context),
        default_out=f"{Path(name).name}-{kind}.gguf",
        reads=_folders(name),
    )


@job_tool(result_texts, model="context", keywords="quantise smaller compress shrink")
def quantize(model: Gguf, context: ToolContext, to: QUANTISED | None = None, out: Gguf | None = None) -> Wanted:
    """Quantize a GGUF file, which makes it smaller.

    Args:
        model: the GGUF file.
        to: kind of quantisation; q8_0 if left out.
        out: the file; named after the model if left out.
    """
    path, kind = within(model, context.workspace), to or "q8_0"
    return Wanted(
        home="agentkit_training.quantizing:QUANTIZE",
        params={"model": str(path), "to": kind},
        about=path,
        out=_out(out, context),
        default_out=f"{path.stem}-{kind}.gguf",
        reads=(path,),
    )


@job_tool(result_texts, adapter="context", keywords="lora")
def merge_adapter(adapter: Model, context: ToolContext, out: Model | None = None) -> Wanted:
    """Merge an adapter into the model that it was trained on.

    Args:
        adapter: the adapter's folder.
        out: folder for the merged model; named after the adapter if left out.
    """
    from agentkit_training.finetune.bases import Base  # noqa: PLC0415  with a call

    folder = Path(local_model(adapter, context.workspace))
    base = Base(adapter, folder, "folder", adapter=True).under().folder
    return Wanted(
        home="agentkit_training.export.jobs:MERGE_ADAPTER",
        params={"adapter": str(folder), "base": str(base)},
        about=folder,
        out=_out(out, context),
        default_out=f"{folder.name}-merged",
        reads=(folder, base),
    )


def _training(
    method: str,
    data: Rows,
    context: ToolContext,
    model: str | None,
    out: str | None,
    more: Mapping[str, Any],
) -> Wanted:
    path, name = within(data, context.workspace), local_model(model or "sprout", context.workspace)
    given = {key: value for key, value in more.items() if value is not None}
    return Wanted(
        home=f"agentkit_training.finetune.jobs:{method.upper()}",
        params={"data": str(path), "model": name, **given},
        about=path,
        out=_out(out, context),
        default_out=f"{path.stem}-{method}",
        reads=(path, *_folders(name)),
    )


def _is_number(answer: object) -> bool:
    try:
        float(str(answer).replace(",", ""))
    except ValueError:
        return False
    return True


def _out(name: str | None, context: ToolContext) -> Path | None:
    return None if name is None else within(name, context.workspace)


def _folders(model: str) -> tuple[Path, ...]:
    return (Path(model),) if Path(model).is_dir() else ()


TOOLS: tuple[Tool, ...] = (fine_tune, sft, dpo, reward, grpo, evaluate, export_gguf, quantize, merge_adapter)

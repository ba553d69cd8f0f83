"""`agentkit train export_gguf` and `merge_adapter`: what was trained, as files that are run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.output import document, json_option, pairs, say
from agentkit.cli.progress import run_job
from agentkit.jobs.texts import plan_text

if TYPE_CHECKING:
    from agentkit.jobs import Job

__all__ = ["export_gguf", "merge_adapter"]

TYPES = ("f32", "f16", "bf16", "q8_0")
_path = click.Path(path_type=Path)
_plan = click.option("--plan", "planned", is_flag=True, help="Say what it would do and cost, and do nothing.")


@click.command("export_gguf")
@click.argument("folder")
@click.option(
    "-o", "--out", type=_path, metavar="FILE", help="What is written. Default: here, named by the folder and type."
)
@click.option(
    "--type", "kind", type=click.Choice(TYPES), default="f16", show_default=True, help="How weights are kept."
)
@click.option("--adapter", type=_path, metavar="DIR", help="A LoRA that PEFT saved: it is added to the weights.")
@click.option("--lora", is_flag=True, help="Write the adapter alone, to be loaded beside the model.")
@click.option("--force", is_flag=True, help="Write over a file that exists.")
@_plan
@json_option
def export_gguf(
    folder: str,
    out: Path | None,
    kind: str,
    adapter: Path | None,
    lora: bool,
    force: bool,
    planned: bool,
    as_json: bool,
) -> None:
    """Write FOLDER, a model as transformers saves it, as a GGUF that the agent loads; `sprout` is the model built in.

    FOLDER may be an adapter that names its base. Llama, Mistral, Qwen2 and Qwen3 are known. Tokens are compared with those of
    transformers before anything is written; a model that would not say the same in llama.cpp is an error.

    \b
    agentkit train export_gguf my-model -o my-model.gguf
    agentkit train export_gguf sprout --adapter my-adapter -o mine.gguf --type q8_0
    agentkit train export_gguf sprout --adapter my-adapter --lora -o mine-lora.gguf
    """
    from agentkit_training.export.jobs import EXPORT_GGUF

    stem = Path(adapter if adapter is not None else folder).resolve().name + ("-lora" if lora else "")
    params = {"model": _absolute(folder), "adapter": None if adapter is None else str(adapter.absolute()), "lora": lora, "type": kind, "force": force}  # fmt: skip
    _run(
        EXPORT_GGUF,
        {**params, "out": str((out or Path(f"{stem}-{kind}.gguf")).absolute())},
        planned=planned,
        as_json=as_json,
    )


@click.command("merge_adapter")
@click.argument("base")
@click.argument("adapter", type=_path)
@click.option("-o", "--out", type=_path, metavar="DIR", required=True, help="The folder that is written.")
@click.option("--force", is_flag=True, help="Write over a folder that exists.")
@_plan
@json_option
def merge_adapter(base: str, adapter: Path, out: Path, force: bool, planned: bool, as_json: bool) -> None:
    """Merge ADAPTER, a LoRA that PEFT saved, into BASE, and write the model as a folder of transformers.

    To run it, `export_gguf --adapter` alone does; merge to go on training, or for an adapter that is more than a LoRA.

    \b
    agentkit train merge_adapter sprout my-adapter -o merged
    agentkit train merge_adapter my-model my-adapter -o merged --json
    """
    from agentkit_training.export.jobs import MERGE_ADAPTER

    params = {"base": _absolute(base), "adapter": str(adapter.absolute()), "out": str(out.absolute()), "force": force}
    _run(MERGE_ADAPTER, params, planned=planned, as_json=as_json)


def _run(job: Job, params: Mapping[str, Any], *, planned: bool, as_json: bool) -> None:
    """Plan, or run and say what came of it; each run has a folder of its own, for none goes on where another stopped."""
    from agentkit import config

    if planned:
        plan = asdict(job.plan(params))
        if as_json:
            document(f"train {job.name} --plan", plan)
        else:
            pairs({"backend": plan["backend"], "why": plan["why"], "costs": plan_text(plan)})
        return
    folder = config.data_dir() / "jobs" / f"{job.name}-{Path(params['out']).stem}-{time.time_ns() // 10**6}"
    done = run_job(job, params, folder)
    if as_json:
        document(
            f"train {job.name}",
            {"out": params["out"], "status": done.status, "warnings": done.warnings, **done.metrics},
        )
    else:
        pairs({name: f"{value:,}" for name, value in done.metrics.items()})
        for text in done.warnings:
            say(f"! {text}")
        say(f"wrote {params['out']}" if done.status == "ok" else f"{done.status}: nothing is written")
    click.get_current_context().exit(done.exit_code)


def _absolute(name: str) -> str:
    """Return a folder by its whole path, for the job's process; `sprout` and ids as they are."""
    return str(Path(name).absolute()) if Path(name).is_dir() else name

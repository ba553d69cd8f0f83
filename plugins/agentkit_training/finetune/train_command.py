"""`agentkit train sft|dpo|reward|grpo`: one command a method, its options made from the method's parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import click

from agentkit.cli.output import document, json_option, pairs, say
from agentkit.cli.progress import plan_text, run_job, sparkline

if TYPE_CHECKING:
    from agentkit.jobs import Job, JobResult
    from agentkit_training.finetune.params import TrainParams

__all__ = ["METHODS"]

CURVES = ("loss", "margin", "accuracy", "reward", "kl", "eval_loss", "eval_kl")


class Training(click.Command):
    """A command whose options are read from a class of parameters, when they are asked for."""

    def __init__(self, name: str, *, kind: str, help: str) -> None:
        self.kind = kind
        self._made: list[click.Parameter] = []
        super().__init__(name, help=help, callback=self._run)

    @property
    def params(self) -> list[click.Parameter]:
        """The arguments and options; made the first time."""
        if not self._made:
            self._made = [click.Argument(["data"], type=click.Path(dir_okay=False))]
            self._made += [click.Option([*_names(name)], **_option(about)) for name, about in self._fields().items() if name != "data"]  # fmt: skip
            self._made += [
                click.Option(
                    ["--plan", "planned"], is_flag=True, help="Say what it would do and cost, and do nothing."
                ),
                click.Option(["--detach"], is_flag=True, help="Do not stay with it; `agentkit jobs watch` does."),
            ]
            json_option(self)
        return self._made

    @params.setter
    def params(self, value: list[click.Parameter]) -> None:
        """Take what click sets at first: nothing."""

    def _fields(self) -> Mapping[str, Any]:
        return self._class().model_fields

    def _class(self) -> type[TrainParams]:
        from agentkit_training.finetune import params

        found: type[TrainParams] = getattr(params, self.kind)
        return found

    def _run(self, data: str, planned: bool, detach: bool, as_json: bool, **options: Any) -> None:
        from agentkit import config, jobs
        from agentkit_training.finetune import jobs as known

        job: Job = getattr(known, str(self.name).upper())
        params = {"data": data, **{name: value for name, value in options.items() if value is not None and value != ()}}
        params = {name: _absolute(name, value) for name, value in params.items()}
        folder = config.data_dir() / "jobs" / f"{self.name}-{Path(params['out']).name}"
        if planned:
            _show_plan(job, params, as_json=as_json)
            return
        if detach:
            jobs.start(job, params, run_dir=folder)
            say(
                f"started; `agentkit jobs watch {folder.name}` stays with it, `agentkit jobs cancel {folder.name}` ends it"
            )
            return
        done = run_job(job, params, folder)
        _show(str(self.name), done, params, folder, as_json=as_json)
        click.get_current_context().exit(done.exit_code)


def _show_plan(job: Job, params: Mapping[str, Any], *, as_json: bool) -> None:
    from dataclasses import asdict

    plan = asdict(job.plan(params))
    if as_json:
        document(f"train {job.name} --plan", plan)
        return
    pairs({"backend": plan["backend"], "why": plan["why"], "costs": plan_text(plan)})
    pairs({name: value for name, value in plan["config"].items() if value not in (None, "", [])})


def _show(name: str, done: JobResult, params: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    if as_json:
        told = {"out": params["out"], "folder": str(folder), "status": done.status, "warnings": done.warnings}
        document(f"train {name}", {**told, **done.metrics})
        return
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for curve in CURVES:
        values = [row[curve] for row in rows if row.get(curve) is not None]
        if len(values) > 1:
            click.echo(f"{curve:>10}  {sparkline(values, 40)}  {values[0]:.4g} -> {values[-1]:.4g}", err=True)
    pairs({key: f"{value:.5g}" if isinstance(value, float) else value for key, value in done.metrics.items()})
    for text in done.warnings:
        say(f"! {text}")
    say(f"curves: {folder / 'artifacts' / 'curves.png'}")
    click.echo(
        f"wrote {params['out']}" if done.status == "ok" else f"{done.status}: the same command goes on", err=True
    )


def _names(name: str) -> tuple[str, ...]:
    words = name.replace("_", "-")
    return (
        ("-m", "--model", "model")
        if name == "model"
        else ("-o", "--out", "out")
        if name == "out"
        else (f"--{words}", name)
    )


def _option(about: Any) -> dict[str, Any]:
    """Return click's arguments for one parameter."""
    kind = about.annotation
    kind = (
        next((one for one in get_args(kind) if one is not type(None)), kind)
        if get_origin(kind) in (Union, UnionType)
        else kind
    )
    several = get_origin(kind) is tuple
    kind = get_args(kind)[0] if several else kind
    told: dict[str, Any] = {"help": _help(about), "multiple": several}
    if kind is bool:
        return {"help": _help(about), "is_flag": True, "default": None}
    if get_origin(kind) is Literal:
        return {**told, "type": click.Choice(get_args(kind))}
    kind = get_args(kind)[0] if get_origin(kind) is not None else kind
    names: Mapping[Any, tuple[Any, str]] = {
        int: (int, "N"),
        float: (float, "X"),
        Path: (click.Path(), "PATH"),
        str: (str, "NAME"),
    }
    of, shown = names[kind]
    return {**told, "type": of, "metavar": shown, "required": about.is_required()}


def _help(about: Any) -> str:
    text = about.description or ""
    default = about.default
    said = (
        ""
        if about.is_required() or default in (None, False, ())
        else ", ".join(default)
        if isinstance(default, tuple)
        else default
    )
    return f"{text[:1].upper()}{text[1:]}.{f'  [default: {said}]' if said != '' else ''}".lstrip(".")


def _absolute(name: str, value: Any) -> Any:
    """Return a path that means the same from everywhere."""
    is_path = (
        name in {"data", "out", "eval_data"}
        or (name == "accelerate" and Path(str(value)).expanduser().is_file())
        or (name in {"model", "reference"} and Path(str(value)).expanduser().is_dir())
    )
    return str(Path(str(value)).expanduser().absolute()) if is_path else value


_SHARED = """
    It is a job in a process of its own: Ctrl-C ends it after a checkpoint, and the same command goes on from there, also after
    a crash. Curves are in the run folder as curves.png (and for TensorBoard, where that is installed).
"""

METHODS = (
    Training(
        "sft",
        kind="SftParams",
        help=f"""Fine-tune a model on the texts or conversations in DATA.

    DATA is .jsonl or .parquet: `messages`, or `prompt` and `completion`, or `text`.
    {_SHARED}
    \b
    agentkit train sft chats.jsonl -o tuned
    agentkit train sft chats.jsonl -o adapter -m ./llama-3.2-1b --lora-rank 16 --epochs 3
    agentkit train sft chats.jsonl -o tuned --plan
    """,
    ),
    Training(
        "dpo",
        kind="DpoParams",
        help=f"""Train a model to prefer the chosen answers in DATA to the rejected ones.

    DATA is .jsonl or .parquet with `prompt`, `chosen` and `rejected`. The reference is the model itself as it was.
    {_SHARED}
    \b
    agentkit train dpo prefs.jsonl -o tuned --steps 50
    agentkit train dpo prefs.jsonl -o tuned --loss ipo --beta 0.05
    agentkit train dpo prefs.jsonl -o adapter --lora-rank 8 --json
    """,
    ),
    Training(
        "reward",
        kind="RewardParams",
        help=f"""Train a reward model, which scores texts, on the pairs in DATA.

    DATA is .jsonl or .parquet with `prompt`, `chosen` and `rejected`.
    {_SHARED}
    \b
    agentkit train reward prefs.jsonl -o scorer --epochs 2
    """,
    ),
    Training(
        "grpo",
        kind="GrpoParams",
        help=f"""Train a model by a reward that can be verified on its own answers to the prompts in DATA.

    DATA is .jsonl or .parquet with `prompt`, and `answer` for the rewards `exact` and `number`.
    {_SHARED}
    \b
    agentkit train grpo sums.jsonl -o tuned --reward number --steps 100
    agentkit train grpo tasks.jsonl -o tuned --reward my_rewards:is_polite
    """,
    ),
)

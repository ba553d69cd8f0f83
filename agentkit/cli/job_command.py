"""A command that runs a job, its options made from the class of the job's parameters.

    JobCommand("traces", job="my_plugin.jobs:TRACES", params="my_plugin.params:TraceParams", argument="out", help=...)

gives `traces OUT` with an option for every other parameter, and `--plan`, `--detach` and `--json`. Nothing is imported before the
options are asked for. A subclass says what it prints at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import click

from agentkit.cli.output import document, json_option, pairs, say
from agentkit.cli.progress import run_job
from agentkit.jobs.texts import plan_text

if TYPE_CHECKING:
    from agentkit.jobs import Job, JobResult
    from agentkit.jobs.params import Checked

__all__ = ["JobCommand", "show_plan"]

SHORT = {"model": "-m", "out": "-o"}


class JobCommand(click.Command):
    """A click command for one job.

    Args:
        name: what is typed.
        job: `module:NAME` of the `Job`.
        params: `module:NAME` of its parameters, an `agentkit.jobs.params.Checked`, one of which is `out`.
        argument: the parameter that is given without an option.
        help: what `--help` says, with examples.
        options: parameter -> how its option is typed, where that is not its name.
        needs: importable modules without which it cannot run; not needed for `--help`.
        extra: of agentkit-local, which brings them.
    """

    def __init__(
        self,
        name: str,
        *,
        job: str,
        params: str,
        argument: str = "out",
        help: str,
        options: Mapping[str, str] = MappingProxyType({}),
        needs: tuple[str, ...] = (),
        extra: str = "",
    ) -> None:
        self._job, self._params, self._argument, self._options = job, params, argument, options
        self._needs, self._extra = needs, extra
        self._made: list[click.Parameter] = []
        super().__init__(name, help=help, callback=self._run)

    @property
    def params(self) -> list[click.Parameter]:
        """The argument and the options; made the first time."""
        if not self._made:
            fields = self._fields()
            self._made = [click.Argument([self._argument], type=click.Path())]
            self._made += [click.Option([*self._names(name)], **_option(about)) for name, about in fields.items() if name != self._argument]  # fmt: skip
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

    def show(self, done: JobResult, params: Mapping[str, Any], folder: Path) -> None:
        """Print what the job came to; figures on stdout, the rest on stderr."""
        pairs({key: _figure(value) for key, value in done.metrics.items()})
        self.show_warnings(done)

    def show_warnings(self, done: JobResult) -> None:
        """Print the job's warnings on stderr."""
        for text in done.warnings:
            say(f"! {text}")

    def _class(self) -> type[Checked]:
        found: type[Checked] = _imported(self._params)
        return found

    def _fields(self) -> Mapping[str, Any]:
        return self._class().model_fields

    def _names(self, name: str) -> tuple[str, ...]:
        long = self._options.get(name, f"--{name.replace('_', '-')}")
        return (SHORT[name], long, name) if name in SHORT else (long, name)

    def _run(self, planned: bool, detach: bool, as_json: bool, **options: Any) -> None:
        from agentkit import config, jobs

        self._require()
        job: Job = _imported(self._job)
        params = {name: value for name, value in options.items() if value is not None and value != ()}
        params = {name: self._absolute(name, value) for name, value in params.items()}
        folder = config.data_dir() / "jobs" / f"{self.name}-{Path(params['out']).name}"
        context = click.get_current_context()
        path = context.command_path.partition(" ")[2]
        if planned:
            show_plan(path, job, params, as_json=as_json)
            return
        if detach:
            jobs.start(job, params, run_dir=folder)
            say(
                f"started; `agentkit jobs watch {folder.name}` stays with it, `agentkit jobs cancel {folder.name}` ends it"
            )
            return
        done = run_job(job, params, folder)
        if as_json:
            told = {"out": params["out"], "folder": str(folder), "status": done.status, "warnings": done.warnings}
            document(path, {**told, **done.metrics})
        else:
            self.show(done, params, folder)
            say(f"wrote {params['out']}" if done.status == "ok" else f"{done.status}: the same command goes on")
        context.exit(done.exit_code)

    def _require(self) -> None:
        from agentkit.extensions import Plugin

        Plugin(name=str(self.name), needs=self._needs, extra=self._extra).require()

    def _absolute(self, name: str, value: Any) -> Any:
        """Return a path that means the same from everywhere; `file.py:name` is one, too."""
        path, colon, rest = str(value).partition(":")
        place = Path(path).expanduser()
        if _kind(self._fields()[name]) is Path:
            return str(Path(str(value)).expanduser().absolute())
        is_path = name in self._class().names_or_paths and place.exists()
        return f"{place.absolute()}{colon}{rest}" if is_path else value


def show_plan(command: str, job: Job, params: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a job would do and cost."""
    from dataclasses import asdict

    plan = asdict(job.plan(params))
    if as_json:
        document(f"{command} --plan", plan)
        return
    pairs({"backend": plan["backend"], "why": plan["why"], "costs": plan_text(plan)})
    pairs({name: value for name, value in plan["config"].items() if value not in (None, "", [])})


def _imported(home: str) -> Any:
    from importlib import import_module

    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


def _kind(about: Any) -> Any:
    """Return a parameter's type, without None."""
    kind = about.annotation
    if get_origin(kind) in (Union, UnionType):
        return next((one for one in get_args(kind) if one is not type(None)), kind)
    return kind


def _option(about: Any) -> dict[str, Any]:
    """Return click's arguments for one parameter."""
    kind = _kind(about)
    several = get_origin(kind) is tuple
    kind = get_args(kind)[0] if several else kind
    told: dict[str, Any] = {"help": _help(about), "multiple": several}
    if kind is bool and about.default is True:
        return {"help": _help(about), "type": bool, "metavar": "true|false", "default": None}
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
    if about.is_required() or default in (None, False, ()):
        return f"{text[:1].upper()}{text[1:]}.".lstrip(".")
    said = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    said = said.lower() if default is True else said
    return f"{text[:1].upper()}{text[1:]}.  [default: {said}]".lstrip(".")


def _figure(value: Any) -> Any:
    return f"{value:.5g}" if isinstance(value, float) else value

"""`agentkit models`: which models there are here, what a file holds, and fetching more."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.group import ListGroup
from agentkit.cli.output import colourful, document, json_option, pairs, say, table

if TYPE_CHECKING:
    from agentkit.models.gguf import GGUFInfo


@click.group(cls=ListGroup)
def command() -> None:
    """List, inspect and fetch models.

    \b
    agentkit models
    agentkit models pull hf:bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M
    agentkit models info model.gguf

    A file that was not seen before is loaded in a child process first, once, so that a damaged one or too little memory
    is an error and not the end of the program (engine.trial).
    agentkit run -m model.gguf "What is 15% of 200?"
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the embedded model, the fetched ones, and some worth fetching. Uses no network."""
    from agentkit.models import known

    rows = known()
    if as_json:
        document("models list", [asdict(row) for row in rows])
        return
    shown = [
        {"name": row.name, "here": row.installed, "size": size(row.size_bytes), "about": row.about} for row in rows
    ]
    table(shown, ("name", "here", "size", "about"), empty="no models: agentkit was installed without its embedded one")


@command.command("info")
@click.argument("name", default="")
@click.option("--sha256", "hashed", is_flag=True, help="Also read the whole file for its SHA-256.")
@json_option
def info(name: str, hashed: bool, as_json: bool) -> None:
    """Show what a model is, from its file's header, and whether it fits here.

    The context is the one in the settings, and so is NAME if left out. Downloads and loads nothing.
    """
    data = _info(name or _default(), hashed)
    if as_json:
        document("models info", data)
        return
    pairs(
        {name.replace("_bytes", ""): size(value) if name.endswith("_bytes") else value for name, value in data.items()}
    )


@command.command("pull")
@click.argument("name")
@json_option
def pull(name: str, as_json: bool) -> None:
    """Fetch a model into the Hugging Face cache, or go on where a fetch was cut off.

    NAME is hf:owner/repo, hf:owner/repo:Q4_K_M or hf:owner/repo/file.gguf, each with @revision if need be.
    """
    from agentkit.models import pull as fetch

    bar = Bar()
    found = fetch(name, bar)
    bar.end()
    if as_json:
        document("models pull", {"name": found.name, "path": found.path})
        return
    say(f"{found.name} is here; use it with: agentkit chat -m {found.name}")


class Bar:
    """Progress on stderr: redrawn on a terminal, now and then a line elsewhere."""

    def __init__(self) -> None:
        self._moves = colourful(sys.stderr)
        self._began = self._last = time.monotonic()
        self._drawn = False

    def __call__(self, file: str, done: int, total: int) -> None:
        """Show how far a file is."""
        now = time.monotonic()
        if now - self._last < (0.1 if self._moves else 10.0) and done != total:
            return
        self._last = now
        rate = done / max(1e-6, now - self._began)
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        text = f"{file}: {size(done)}" + (f" of {size(total)} ({done / total:.0%})" if total else "")
        text += f", {size(int(rate))}/s{left}"
        if self._moves:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
            self._drawn = True
        else:
            say(text)

    def end(self) -> None:
        """Leave the line."""
        if self._drawn:
            say("")


def size(count: int | None) -> str:
    """Return bytes as people read them."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _default() -> str:
    from agentkit import config

    return config.load().settings.engine.model


def _info(name: str, hashed: bool) -> dict[str, Any]:
    from agentkit.models import resolve
    from agentkit.models.gguf import inspect

    found = resolve(name, offline=True)
    if found.kind != "gguf":
        return {"name": found.name, "kind": found.kind, "where": found.url or str(found.path)}
    assert found.path is not None  # a GGUF is a file
    about = inspect(found.path)
    data = {
        "name": found.name,
        "kind": found.kind,
        "title": about.name,
        "path": str(about.path),
        "architecture": about.architecture,
        "parameters": about.parameters,
        "quantisation": about.quantisation,
        "context_length": about.context_length,
        "vocabulary": about.vocabulary,
        "dialect": about.dialect or None,
        "has_chat_template": about.has_chat_template,
        **_memory(about),
    }
    return {**data, "sha256": about.sha256()} if hashed else data


def _memory(about: GGUFInfo) -> dict[str, Any]:
    from agentkit import config
    from agentkit.engine.llama.fits import fit

    engine = config.load().settings.engine
    found = fit(about, engine.context, live=engine.live, gpu_layers=engine.gpu_layers)
    data = {
        "weight_bytes": found.estimate.weights,
        "context": found.context,
        "cache_bytes": found.estimate.kv,
        "buffer_bytes": found.estimate.buffers,
        "memory_bytes": found.estimate.total,
        "free_bytes": found.memory.free if found.memory else None,
        "fits": found.verdict,
        "largest_context": found.largest_context,
    }
    return {**data, "advice": found.advice} if found.advice else data

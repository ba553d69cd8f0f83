"""`agentkit doctor`: what works here, what does not, and how to make it faster.

Every check is independent: one that fails hides no other. Nothing is downloaded and nothing is changed,
except that the database is made if there is none.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

from agentkit.cli.group import HELP_NAMES
from agentkit.cli.output import clean, colourful, document, json_option
from agentkit.errors import AgentkitError

FAILED = 3
PACKAGES = ("agentkit-local", "llama-cpp-python", "llguidance", "langgraph", "langchain-core", "pydantic", "click")
BUILDS = {
    "cuda": "-DGGML_CUDA=on",
    "metal": "-DGGML_METAL=on",
    "vulkan": "-DGGML_VULKAN=on",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found."""

    check: str
    status: Literal["ok", "warn", "fail"]
    text: str


_BY_VERDICT: dict[str, Literal["ok", "warn", "fail"]] = {"yes": "ok", "unknown": "ok", "slowly": "warn", "no": "fail"}

Check = Callable[[], Iterator[Finding]]


@click.command(context_settings=HELP_NAMES)
@click.option("--no-load", is_flag=True, help="Do not load the model; look at its file only.")
@json_option
def command(no_load: bool, as_json: bool) -> int:
    """Check this installation, and say how to speed it up.

    Exits 3 if something is broken. Downloads nothing.

    \b
    agentkit doctor
    agentkit doctor --json
    """
    findings = [finding for name, check in _checks(no_load).items() for finding in _safely(name, check)]
    failed = any(finding.status == "fail" for finding in findings)
    if as_json:
        document("doctor", {"ok": not failed, "findings": [asdict(f) for f in findings], "builds": install_lines()})
    else:
        _show(findings)
    return FAILED if failed else 0


def install_lines() -> dict[str, str]:
    """Return, by kind of GPU, the line that builds llama.cpp for it, at the release that is installed."""
    wanted = _version("llama-cpp-python") or "0.3.36"
    end = f"pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python=={wanted}"
    return {name: f'CMAKE_ARGS="{flags}" {end}' for name, flags in BUILDS.items()}


def _checks(no_load: bool) -> dict[str, Check]:
    return {
        "python": _python,
        "packages": _packages,
        "machine": _machine,
        "llama.cpp": _llama,
        "model": lambda: _model(load=not no_load),
        "database": _database,
        "settings": _settings,
        "extensions": _extensions,
        "sandbox": _sandbox,
        "terminal": _terminal,
    }


def _safely(name: str, check: Check) -> list[Finding]:
    """Run one check; whatever goes wrong in it is its finding."""
    try:
        return list(check())
    except AgentkitError as error:
        return [Finding(check=name, status="fail", text=str(error))]
    except Exception as error:  # noqa: BLE001  a doctor that falls ill helps nobody
        return [Finding(check=name, status="fail", text=f"{type(error).__name__}: {error}")]


def _python() -> Iterator[Finding]:
    good = sys.version_info >= (3, 11)
    text = f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    yield Finding(check="python", status="ok" if good else "fail", text=text if good else f"{text}; 3.11 is needed")


def _packages() -> Iterator[Finding]:
    versions = {name: _version(name) for name in PACKAGES}
    missing = [name for name, found in versions.items() if found is None]
    there = ", ".join(f"{name} {found}" for name, found in versions.items() if found)
    yield Finding(check="packages", status="ok", text=there)
    if missing:
        yield Finding(
            check="packages", status="fail", text=f"{', '.join(missing)} missing; pip install agentkit-local again"
        )


def _machine() -> Iterator[Finding]:
    from agentkit.models.machine import memory

    yield Finding(check="machine", status="ok", text=f"{platform.system()} {platform.machine()}, {_cpu()}")
    there = memory()
    if there:
        status: Literal["ok", "warn"] = "ok" if there.free > 1e9 else "warn"
        text = f"{there.total / 1e9:.1f} GB for {there.place}, {there.free / 1e9:.1f} GB free"
        yield Finding(check="memory", status=status, text=text)


def _llama() -> Iterator[Finding]:
    from agentkit.engine.llama.library import physical_cores, supports_gpu, system_info

    yield Finding(check="llama.cpp", status="ok", text=" ".join(system_info().split()))
    yield Finding(check="threads", status="ok", text=f"{physical_cores()} physical cores for this process")
    if supports_gpu():
        yield Finding(check="gpu", status="ok", text="this build of llama.cpp can use one")
        return
    seen = _gpu_kind()
    text = (
        f"this build of llama.cpp is for the CPU; for a {seen} build see below" if seen else "none found; using the CPU"
    )
    yield Finding(check="gpu", status="warn" if seen else "ok", text=text)


def _model(*, load: bool) -> Iterator[Finding]:
    from agentkit import config
    from agentkit.cli.models import size
    from agentkit.engine import open_engine
    from agentkit.engine.llama.fits import fit
    from agentkit.models import resolve
    from agentkit.models.gguf import inspect

    engine = config.load().settings.engine
    found = resolve(engine.model, offline=True)
    if found.kind != "gguf":
        yield Finding(check="model", status="ok", text=f"{engine.model}: {found.url or found.path}")
        return
    assert found.path is not None  # a GGUF is a file
    about = inspect(found.path)
    text = f"{engine.model}: {about.quantisation}, {size(about.weight_bytes)}, context {about.context_length}"
    room = fit(about, engine.context, live=engine.live, gpu_layers=engine.gpu_layers)
    status: Literal["ok", "warn", "fail"] = _BY_VERDICT[room.verdict]
    said = f"takes {room}" + (f"; {room.advice}" if room.advice else "")
    if not load or status == "fail":
        yield Finding(check="model", status="ok", text=text)
        yield Finding(check="fits", status=status, text=said)
        return
    began = time.monotonic()
    opened = open_engine(engine)
    opened.close()
    yield Finding(check="model", status="ok", text=f"{text}; loads in {time.monotonic() - began:.2f} s")
    yield Finding(check="fits", status=status, text=said)


def _database() -> Iterator[Finding]:
    from agentkit.cli.threads import opened

    with opened() as store:
        runs = len(store.runs(limit=1))
        yield Finding(check="database", status="ok", text=store.name + ("" if runs else " (no runs yet)"))


def _settings() -> Iterator[Finding]:
    from agentkit import config

    loaded = config.load()
    origins = sorted(set(loaded.origins.values()))
    yield Finding(check="settings", status="ok", text=", ".join(origins) if origins else "all at their defaults")


def _extensions() -> Iterator[Finding]:
    from agentkit import config
    from agentkit.extensions import load_tools

    tools, broken = load_tools(config.load().settings)
    yield Finding(check="extensions", status="ok", text=f"{len(tools)} tools: {', '.join(t.name for t in tools)}")
    for item in broken:
        yield Finding(check="extensions", status="warn", text=str(item.error))


def _sandbox() -> Iterator[Finding]:
    from agentkit import config
    from agentkit.tools.children import NO_BOUNDARY, bubblewrap

    wanted = config.load().settings.tools.sandbox
    if wanted == "off":
        yield Finding(check="sandbox", status="warn", text=f"tools.sandbox is off: {NO_BOUNDARY}")
    elif found := bubblewrap():
        text = f"{found}: tools in workers see no home, write only to the workspace, and have a network only if they say so"
        yield Finding(check="sandbox", status="ok", text=text)
    else:
        how = (
            "install bubblewrap (apt install bubblewrap)"
            if sys.platform == "linux"
            else "there is none for this system"
        )
        yield Finding(
            check="sandbox",
            status="fail" if wanted == "require" else "warn",
            text=f"no bubblewrap that works here, so {NO_BOUNDARY}; {how}",
        )


def _terminal() -> Iterator[Finding]:
    if not sys.stdout.isatty():
        yield Finding(check="terminal", status="ok", text="stdout is not a terminal; run works, chat needs one")
        return
    columns, lines = shutil.get_terminal_size()
    colour = "with colour" if colourful(sys.stdout) else "without colour"
    yield Finding(
        check="terminal", status="ok", text=f"{os.environ.get('TERM', 'unknown')}, {columns}x{lines}, {colour}"
    )


def _show(findings: list[Finding]) -> None:
    marks = {"ok": "✓", "warn": "!", "fail": "✗"}
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        click.echo(f"{marks[finding.status]} {finding.check.ljust(width)}  {clean(' '.join(finding.text.split()))}")
    click.echo("\nTo build llama.cpp for a GPU (a C++ compiler and the GPU's own tool kit are needed):")
    for name, line in install_lines().items():
        click.echo(f"  {name.ljust(6)}  {line}")


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {os.cpu_count()} hardware threads"


def _gpu_kind() -> str:
    """Return which build a GPU seen here would need; empty if none is seen."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "metal"
    if shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists():
        return "cuda"
    return "vulkan" if any(Path("/dev/dri").glob("renderD*")) else ""

"""The real program, as in tests/cli; a tiny random model; and a stranger's plugin whose tools misbehave."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_cli = _load("cli_program", TESTS / "cli" / "conftest.py")
agentkit, script = _cli.agentkit, _cli.script

METADATA = "Metadata-Version: 2.1\nName: nasty-agentkit\nVersion: 6.6.6\n"
PLUGIN = '''
import os, subprocess, sys, time
from agentkit import Plugin, tool

def rules(**more):
    return tool(effect="read", egress=False, trust="trusted", **more)

@rules()
def raises(x: int = 0) -> str:
    """Raise."""
    raise ValueError("first line\\nsecond line of a strange error")

@rules()
def exits(x: int = 0) -> str:
    """Leave the process."""
    sys.exit("so long")

@rules(timeout_s=0.5)
def hangs(x: int = 0) -> str:
    """Hang."""
    while True:
        time.sleep(60)

@rules()
def prints(x: int = 0) -> None:
    """Print 100 MB."""
    for _ in range(100):
        print("spam " * 200_000)

@rules()
def prints_beside(x: int = 0) -> str:
    """Print past Python, as a child process does."""
    subprocess.run([sys.executable, "-c", "print('from a child', flush=True)"])
    os.write(1, b"from the descriptor\\n")
    return "printed"

@rules()
def returns(x: int = 0) -> str:
    """Return 100 MB."""
    return "y" * 100_000_000

@rules()
def binary(x: int = 0) -> bytes:
    """Return what is not text."""
    return bytes(range(256)) * 40

@rules()
def escapes(x: int = 0) -> str:
    """Return what a terminal would obey, and no Unicode can say."""
    return "\\x1b[2J\\x1b]0;owned\\x07nul\\x00 lone\\udc80 end"

plugin = Plugin(
    name="nasty", tools=lambda: (raises, exits, hangs, prints, prints_beside, returns, binary, escapes)
)
'''


@dataclass(frozen=True)
class Nasty:
    """The program with the plugin installed."""

    program: Any
    environ: dict[str, str]

    def __call__(self, *words: str, **options: Any) -> Any:
        return self.program(*words, env=self.environ, **options)


def install(folder: Path, name: str, entry_points: str, **modules: str) -> Path:
    """Lay out a distribution as pip would have done."""
    info = folder / f"{name.replace('-', '_')}-6.6.6.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA.replace("nasty-agentkit", name))
    (info / "entry_points.txt").write_text(entry_points)
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    return folder


def on_path(folder: Path, only: str = "basics,nasty") -> dict[str, str]:
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "AGENTKIT_EXTENSIONS__ONLY": only}


@pytest.fixture
def installed() -> tuple[Callable[..., Path], Callable[..., dict[str, str]]]:
    return install, on_path


@pytest.fixture
def nasty(agentkit: Any, tmp_path: Path) -> Nasty:
    points = "[agentkit.plugins]\nnasty = nasty_plugin:plugin\n"
    folder = install(tmp_path / "site", "nasty-agentkit", points, nasty_plugin=PLUGIN)
    return Nasty(agentkit, on_path(folder))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers that speaks plain/1."""
    from agentkit.engine.dialects import plain

    write = _load("engine_conftest", TESTS / "unit" / "engine" / "conftest.py").write_model
    path: Path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write(path, extra={"agentkit.dialect": plain.NAME, "general.name": "tiny"})
    return path

"""Importing agentkit, and asking it for help, loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch", "transformers", "trl", "diffusers", "numpy", "llama_cpp", "llguidance", "langgraph", "langchain",
    "langchain_core", "pydantic", "jsonschema", "httpx", "huggingface_hub", "sqlite_utils", "rich", "prompt_toolkit",
)  # fmt: skip

STATEMENTS = {
    "import agentkit": "import agentkit",
    "the values": "from agentkit import Done, Effect, Event, Failed, Plugin, RunResult, StopReason, Task, Tool",
    "the settings": "from agentkit import config; config.load()",
    "agentkit --help": "from agentkit.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass",
    "agentkit --version": "from agentkit.cli import main\ntry:\n    main(['--version'])\nexcept SystemExit:\n    pass",
}


@pytest.mark.parametrize("what", STATEMENTS)
def test_leaves_the_heavy_libraries_alone(what: str, tmp_path: Path) -> None:
    code = f"{STATEMENTS[what]}\nimport sys\nprint('LOADED', *sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED"

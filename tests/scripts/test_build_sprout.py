"""The script that rebuilds the embedded model, on a budget of seconds: every stage, none of the quality."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the train extra")
SCRIPTS = Path(__file__).parents[2] / "scripts"
SMALL = {"tokens": 12_000, "corpus_texts": 800, "compile": False, "threads": 1, "batch_tokens": 2048}


@pytest.fixture(scope="module")
def script() -> Any:
    sys.path.insert(0, str(SCRIPTS))
    try:
        import build_sprout
    finally:
        sys.path.remove(str(SCRIPTS))
    return build_sprout


@pytest.mark.slow
@pytest.mark.timeout(600)  # its threads wait for each other where the cores are shared
def test_every_stage(script: Any, tmp_path: Path) -> None:
    from agentkit.engine.llama import LlamaEngine
    from agentkit.jobs import run
    from agentkit.models.gguf import inspect
    from agentkit_training.gguf_writer import write_gguf
    from agentkit_training.parity import parity

    stop = threading.Event()
    stop.set()
    cancelled = run(script.JOB, SMALL, run_dir=tmp_path / "run", cancelled=stop)
    assert cancelled.status == "cancelled"
    done = run(script.JOB, SMALL, run_dir=tmp_path / "run")
    assert done.status == "ok"
    assert done.metrics["tokens"] >= SMALL["tokens"]
    assert {Path(artifact.path).name for artifact in done.artifacts} >= {"sprout.gguf", script.FLOATS, script.TOKENIZER}

    info = inspect(tmp_path / "run" / "artifacts" / "sprout.gguf")
    assert (info.architecture, info.dialect, info.has_chat_template) == ("llama", "plain/1", True)
    with LlamaEngine(info.path) as engine:
        assert engine.capabilities.context == script.CONTEXT

    model, tokenizer = script.read_floats(tmp_path / "run" / "artifacts")
    wide = write_gguf(model, tokenizer, tmp_path / "wide.gguf", dtype="f32")
    assert parity(model, wide, tokenizer.encode("What is 15% of 200? Überall 東京 🙂")) < 1e-2

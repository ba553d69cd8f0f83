"""`agentkit train export_gguf` and `merge_adapter`: what is printed, and that the engine runs what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from agentkit.cli import main  # noqa: E402
from agentkit.engine.llama import LlamaEngine  # noqa: E402
from agentkit.engine.llama.sessions import Text  # noqa: E402
from tests.plugins import export_models as make  # noqa: E402


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run `agentkit train` here; return its status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["train", *words])
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_a_folder_becomes_a_file_that_the_engine_runs(said: Any, tmp_path: Path) -> None:
    make.save_model(make.CONFIGS["llama"], tmp_path / "mine")
    code, out, _ = said("export_gguf", "mine", "--plan")
    assert code == 0
    assert "gguf" in out
    assert "MB of disk" in out
    code, out, err = said("export_gguf", "mine")
    assert code == 0, err
    assert "parameters" in out
    assert "wrote " in err
    with LlamaEngine(tmp_path / "mine-f16.gguf", context=256, threads=1) as engine:
        assert engine.session(make.TEXT).generate(Text(max_tokens=4)).usage.decoded > 0
    code, out, err = said("export_gguf", "mine")
    assert code == 2
    assert "/out: " in err
    assert "exists" in err


@pytest.mark.slow
def test_as_json(said: Any, tmp_path: Path) -> None:
    make.save_model(make.CONFIGS["qwen3"], tmp_path / "mine")
    code, out, _ = said("export_gguf", "mine", "-o", "deep/a.gguf", "--type", "q8_0", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["command"] == "train export_gguf"
    data = document["data"]
    assert data["status"] == "ok"
    assert data["bytes"] == Path(data["out"]).stat().st_size
    assert data["texts_compared"] > 100


def test_failures_read(said: Any, tmp_path: Path) -> None:
    code, _, err = said("export_gguf", "gone", "--json")
    assert code == 2
    assert "gone" in err
    (tmp_path / "empty").mkdir()
    assert said("export_gguf", "empty")[0] == 2
    code, _, err = said("export_gguf", "sprout", "--lora")
    assert code == 2
    assert "/lora" in err
    code, _, err = said("merge_adapter", "sprout", "empty", "-o", "out", "--plan")
    assert code == 2
    assert "adapter_config.json" in err


def test_help_has_examples(said: Any) -> None:
    for name in ("export_gguf", "merge_adapter"):
        code, out, _ = said(name, "--help")
        assert code == 0
        assert f"agentkit train {name} " in out

"""Exported models say in llama.cpp what they say in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from agentkit.jobs import run  # noqa: E402
from agentkit.models import resolve  # noqa: E402
from agentkit_training.export.jobs import EXPORT_GGUF  # noqa: E402
from agentkit_training.export.pretokenizers import GPT2  # noqa: E402
from agentkit_training.gguf_reader import GgufModel  # noqa: E402
from agentkit_training.sprout_hf import sprout_folder  # noqa: E402
from tests.plugins import export_models as make  # noqa: E402

IDS = list(np.random.default_rng(0).integers(3, 600, 120))

PLAIN = ("llama", "mistral", "qwen2", "qwen3")  # in half precision too


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make.byte_level(GPT2)


def export(folder: Path | str, out: Path, **more: Any) -> dict[str, Any]:
    done = run(EXPORT_GGUF, {"model": str(folder), "out": str(out), **more}, run_dir=out.with_suffix(".job"))
    assert done.status == "ok", done.error
    return dict(done.metrics)


def log_softmax(logits: Any) -> Any:
    return torch.log_softmax(torch.from_numpy(logits), -1).numpy()


@pytest.mark.parametrize("name", make.CONFIGS)
def test_logits_are_those_of_transformers(name: str, tokenizer: Any, tmp_path: Path) -> None:
    model = make.save_model(make.CONFIGS[name], tmp_path / "model", tokenizer)
    with torch.no_grad():
        logits = model(torch.tensor([IDS])).logits[0].numpy()
    assert np.abs(logits).max() > 1  # it prefers something
    for kind in ("f32", "f16") if name in PLAIN else ("f32",):
        export(tmp_path / "model", tmp_path / f"{kind}.gguf", type=kind)
        with GgufModel(tmp_path / f"{kind}.gguf", window=len(IDS)) as read:
            found = read.logits(IDS)
        if kind == "f32":
            assert np.abs(found - logits).max() < 1e-3
            assert (found.argmax(-1) == logits.argmax(-1)).all()
        assert np.abs(log_softmax(found) - log_softmax(logits)).max() < 1e-2
        assert (found.argmax(-1) == logits.argmax(-1)).mean() > 0.98


def test_sprout_from_its_folder_is_the_sprout_that_ships(tmp_path: Path) -> None:
    """Its folder says what the shipped floats say, so that what is trained from it begins where sprout stands."""
    export("sprout", tmp_path / "a.gguf", type="f32")
    folder = sprout_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("You can call tools. <end>What is 15% of 200?<end>")["input_ids"]
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([ids])).logits[0].float().numpy()
    with GgufModel(tmp_path / "a.gguf", window=len(ids)) as read:
        assert np.abs(read.logits(ids) - logits).max() < 1e-3
    about, shipped = make.metadata(tmp_path / "a.gguf"), make.metadata(resolve("sprout").path)
    for key in ("agentkit.dialect", "agentkit.quotes", "agentkit.ranker_weight", "tokenizer.ggml.pre"):
        assert about[key] == shipped[key]

"""Exported models say in llama.cpp what they say in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentkit.jobs import run  # noqa: E402
from agentkit_training.export.jobs import EXPORT_GGUF  # noqa: E402
from agentkit_training.export.pretokenizers import GPT2  # noqa: E402
from agentkit_training.gguf_reader import GgufModel  # noqa: E402
from tests.plugins import export_models as make  # noqa: E402

IDS = list(np.random.default_rng(0).integers(3, 600, 120))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make.byte_level(GPT2)


def export(folder: Path, out: Path, **more: Any) -> dict[str, Any]:
    done = run(EXPORT_GGUF, {"model": str(folder), "out": str(out), **more}, run_dir=out.with_suffix(".job"))
    assert done.status == "ok", done.error
    return dict(done.metrics)


def log_softmax(logits: Any) -> Any:
    return torch.log_softmax(torch.from_numpy(logits), -1).numpy()


@pytest.mark.parametrize("name", make.CONFIGS)
def test_logits_are_those_of_transformers(name: str, tokenizer: Any, tmp_path: Path) -> None:
    model = make.save_model(make.CONFIGS[name], tmp_path / "model", tokenizer)
    expected = make.log_probabilities(model, IDS)
    assert np.abs(expected.max(-1)).mean() < 5  # it prefers something
    with torch.no_grad():
        logits = model(torch.tensor([IDS])).logits[0].numpy()
    for kind, bound in (("f32", 1e-3), ("f16", 1e-2)):
        export(tmp_path / "model", tmp_path / f"{kind}.gguf", type=kind)
        with GgufModel(tmp_path / f"{kind}.gguf", window=len(IDS)) as read:
            found = read.logits(IDS)
        if kind == "f32":
            assert np.abs(found - logits).max() < bound
            assert (found.argmax(-1) == logits.argmax(-1)).all()
        assert np.abs(log_softmax(found) - expected).max() < bound, kind
        assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.98

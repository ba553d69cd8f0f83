"""Quantising sprout's own weights, and what it is said to cost, against PyTorch and against itself."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from agentkit.errors import InvalidParams, ModelFileError, UsageError  # noqa: E402
from agentkit.jobs import run  # noqa: E402
from agentkit_training.comparing import Sums, compared, windows  # noqa: E402
from agentkit_training.gguf_reader import GgufModel, tensors  # noqa: E402
from agentkit_training.gguf_writer import write_gguf  # noqa: E402
from agentkit_training.llama import Llama, LlamaConfig  # noqa: E402
from agentkit_training.quantize import QUANTS, quantize  # noqa: E402
from agentkit_training.quantizing import BITS, QUANTIZE, bits, sizes  # noqa: E402
from agentkit_training.tokenizer import TextTokenizer, standard_library_texts, train_tokenizer  # noqa: E402

TEXT = (
    "Return the sum of the numbers in a file. Every line has one number, and lines that have none are left out. " * 12
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Llama, TextTokenizer, Path]:
    """A small Llama with a tokenizer of its own, in F32."""
    folder = tmp_path_factory.mktemp("models")
    texts = [text for text, _ in zip(standard_library_texts(), range(400), strict=False)]
    tokenizer = train_tokenizer(texts, size=512)
    torch.manual_seed(0)
    model = Llama(LlamaConfig(vocab=512, width=256, layers=2, heads=4, kv_heads=4, hidden=512, context=512)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.0 if weight.ndim > 1 else 1.0)  # so that it prefers something
    return model, tokenizer, write_gguf(model, tokenizer, folder / "wide.gguf", dtype="f32")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def params(source: Path, out: Path, **more: Any) -> dict[str, Any]:
    return {"model": str(source), "out": str(out), "to": "q8_0", "window": 64, **more}


def test_a_model_does_not_differ_from_itself(made: tuple[Llama, TextTokenizer, Path]) -> None:
    _, _, path = made
    with GgufModel(path, window=65) as one, GgufModel(path, window=65) as other:
        sums = Sums()
        for _ in compared(one, other, windows(one.tokens(TEXT), 64), sums):
            pass
    figures = sums.metrics()
    assert figures["kl"] == pytest.approx(0, abs=1e-9)
    assert figures["top_1"] == 1.0
    assert figures["perplexity"] == figures["perplexity_before"]


def test_perplexity_is_pytorch_s(made: tuple[Llama, TextTokenizer, Path]) -> None:
    model, tokenizer, path = made
    with GgufModel(path, window=65) as one, GgufModel(path, window=65) as other:
        assert one.tokens(TEXT) == tokenizer.encode(TEXT)
        texts = windows(one.tokens(TEXT), 64)
        begin = one.begin
        (*_, sums) = compared(one, other, texts, Sums())
    nll, count = 0.0, 0
    for window in texts:
        ids = [*begin, *window]
        first = len(ids) // 2
        with torch.no_grad():
            logs = torch.log_softmax(model(torch.tensor([ids]))[0].double(), -1)
        nll -= float(sum(logs[n, ids[n + 1]] for n in range(first, len(ids) - 1)))
        count += len(ids) - 1 - first
    assert sums.tokens == count
    assert sums.metrics()["perplexity"] == pytest.approx(math.exp(nll / count), rel=1e-4)


def test_fewer_bits_cost_more(made: tuple[Llama, TextTokenizer, Path], text: Path, tmp_path: Path) -> None:
    """Half precision is next to free, eight bits cheap, four dearer; files are as big as their bits say."""
    _, _, path = made
    found = {}
    for kind in ("f16", "q8_0", "q4_0"):
        done = run(QUANTIZE, params(path, tmp_path / f"{kind}.gguf", to=kind, text=str(text)), run_dir=tmp_path / kind)
        assert done.status == "ok", done.error
        found[kind] = done.metrics
        assert (tmp_path / f"{kind}.gguf").stat().st_size == done.metrics["bytes"]
    assert 0 <= found["f16"]["kl"] < 1e-4
    assert found["f16"]["kl"] < found["q8_0"]["kl"] < found["q4_0"]["kl"]
    assert found["f16"]["top_1"] >= 0.99
    assert found["q4_0"]["top_1"] <= found["f16"]["top_1"]
    assert found["q8_0"]["by_kind"]["Q8_0"]["bits"] == 8.5  # 32 weights of 8 bits and a scale of 16
    assert found["q8_0"]["bytes"] < found["f16"]["bytes"] < found["f16"]["bytes_before"]
    assert {row["name"] for row in json.loads((tmp_path / "q8_0" / "artifacts" / "tensors.json").read_text())} == {
        tensor.name for tensor in tensors(path)
    }


@pytest.mark.parametrize("kind", QUANTS)
def test_the_size_is_foretold(kind: str, made: tuple[Llama, TextTokenizer, Path], tmp_path: Path) -> None:
    _, _, path = made
    out = quantize(path, tmp_path / "out.gguf", kind=kind)
    assert bits(tensors(out)) == pytest.approx(BITS[kind], rel=0.25)
    assert QUANTIZE.plan(params(path, tmp_path / "b.gguf", to=kind)).disk_bytes == pytest.approx(
        out.stat().st_size, rel=0.35
    )


def test_interrupted_and_resumed_is_uninterrupted(
    made: tuple[Llama, TextTokenizer, Path], text: Path, tmp_path: Path
) -> None:
    _, _, path = made
    wanted = params(path, tmp_path / "a.gguf", text=str(text))
    whole = run(QUANTIZE, {**wanted, "out": str(tmp_path / "b.gguf")}, run_dir=tmp_path / "whole")
    from agentkit.jobs import Budget

    first = run(QUANTIZE, wanted, run_dir=tmp_path / "parts", budget=Budget(steps=1))
    assert first.status == "budget_exhausted"
    assert not (tmp_path / "a.gguf").exists()
    done = run(QUANTIZE, wanted, run_dir=tmp_path / "parts")
    assert done.status == "ok"
    timeless = {name: value for name, value in done.metrics.items() if not name.startswith("tokens_per_s")}
    assert timeless == {name: value for name, value in whole.metrics.items() if not name.startswith("tokens_per_s")}
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_cancelled_before_anything_is_compared(
    made: tuple[Llama, TextTokenizer, Path], text: Path, tmp_path: Path
) -> None:
    stop = threading.Event()
    stop.set()
    done = run(QUANTIZE, params(made[2], tmp_path / "a.gguf", text=str(text)), run_dir=tmp_path / "a", cancelled=stop)
    assert done.status == "cancelled"
    assert not (tmp_path / "a.gguf").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"to": "q3"}, "unknown quantisation"),
        ({"model": "gone.gguf"}, "no file"),
        ({"model": None}, "is missing"),
        ({"window": 3}, "16 to 4096"),
        ({"window": "64"}, "16 to 4096"),
        ({"text": "gone.txt"}, "no file"),
    ],
)
def test_bad_params(
    change: dict[str, Any], words: str, made: tuple[Llama, TextTokenizer, Path], tmp_path: Path
) -> None:
    with pytest.raises(InvalidParams, match=words):
        QUANTIZE.plan({**params(made[2], tmp_path / "a.gguf"), **change})


def test_what_is_there_is_not_written_over(made: tuple[Llama, TextTokenizer, Path], tmp_path: Path) -> None:
    out = tmp_path / "a.gguf"
    out.write_text("mine")
    with pytest.raises(InvalidParams, match="exists"):
        QUANTIZE.plan(params(made[2], out))
    with pytest.raises(InvalidParams, match="exists"):
        QUANTIZE.plan(params(made[2], made[2], force=True))
    assert run(QUANTIZE, params(made[2], out, force=True), run_dir=tmp_path / "r").status == "ok"
    assert len(tensors(out)) == len(tensors(made[2]))


def test_files_that_are_no_models(tmp_path: Path, made: tuple[Llama, TextTokenizer, Path]) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelFileError):
        QUANTIZE.plan(params(wrong, tmp_path / "a.gguf"))
    with pytest.raises(ModelFileError):
        GgufModel(wrong, window=64)
    with pytest.raises(ModelFileError):
        quantize(wrong, tmp_path / "a.gguf")
    with pytest.raises(UsageError):
        quantize(made[2], tmp_path / "a.gguf", kind="q1")
    short = tmp_path / "short.txt"
    short.write_text("a")
    done = run(QUANTIZE, params(made[2], tmp_path / "b.gguf", text=str(short)), run_dir=tmp_path / "s")
    assert done.status == "failed"
    assert "longer text" in done.error


def test_models_of_two_vocabularies_are_not_compared(made: tuple[Llama, TextTokenizer, Path], tmp_path: Path) -> None:
    _, tokenizer, path = made
    other = Llama(LlamaConfig(vocab=600, width=256, layers=1, heads=4, kv_heads=4, hidden=512, context=512))
    wider = write_gguf(other, tokenizer, tmp_path / "other.gguf")
    with GgufModel(path, window=65) as one, GgufModel(wider, window=65) as two, pytest.raises(InvalidParams, match="512 and 600"):  # fmt: skip
        next(compared(one, two, windows(one.tokens(TEXT), 64), Sums()))


@given(st.integers(8, 3_000), st.integers(16, 256))
def test_windows_cover_the_text(count: int, length: int) -> None:
    tokens = list(range(count))
    found = windows(tokens, length)
    joined = [token for window in found for token in window]
    assert joined == tokens[: len(joined)]
    assert len(tokens) - len(joined) < max(8, length // 2)
    assert all(len(window) <= length for window in found)


def test_sizes_add_up(made: tuple[Llama, TextTokenizer, Path]) -> None:
    found = tensors(made[2])
    assert sum(int(of["weights"]) for of in sizes(found).values()) == sum(one.elements for one in found)
    assert bits(found) == 32.0
    assert np.isclose(
        sum(one.bytes for one in found) * 8, sum(of["weights"] * of["bits"] for of in sizes(found).values())
    )

"""Evaluating: the figures against sums done by hand, and going on where it was stopped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentkit.errors import InvalidParams  # noqa: E402
from agentkit.jobs import Budget, run  # noqa: E402
from agentkit_training.finetune.bases import find_base, load_model, load_tokenizer  # noqa: E402
from agentkit_training.finetune.evaluating import EVALUATE, Tally, wilson  # noqa: E402
from tests.plugins.finetune_models import chats, pairs, tiny, write  # noqa: E402


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model, and another of the same shape."""
    folder = tmp_path_factory.mktemp("models")
    first = tiny(folder / "first")
    other = load_model(find_base(str(first)))
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)), alpha=0.02)
    other.save_pretrained(folder / "second")
    load_tokenizer(find_base(str(first))).save_pretrained(folder / "second")
    return first, folder / "second"


def test_figures_are_those_reckoned_by_hand(models: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = models
    rows = pairs(5)
    told = {
        "model": str(second),
        "reference": str(first),
        "data": str(write(tmp_path / "prefs.jsonl", rows)),
        "beta": 0.3,
    }
    found = run(EVALUATE, told, run_dir=tmp_path / "run").metrics
    tokenizer, nets = (
        load_tokenizer(find_base(str(first))),
        [load_model(find_base(str(one))).eval() for one in (second, first)],
    )
    nll, kl, tokens, margins = 0.0, 0.0, 0, []
    for row in rows:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
        sums = []
        for name in ("chosen", "rejected"):
            ids = tokenizer.apply_chat_template([*row["prompt"], *row[name]], return_dict=False)
            with torch.no_grad():
                ours, theirs = (
                    torch.log_softmax(net(input_ids=torch.tensor([ids])).logits[0, len(prompt) - 1 : -1], -1)
                    for net in nets
                )
            said = torch.tensor(ids[len(prompt) :])[:, None]
            sums.append(float((ours - theirs).gather(1, said).sum()))
            if name == "chosen":
                nll -= float(ours.gather(1, said).sum())
                kl += float((ours.exp() * (ours - theirs)).sum())
                tokens += len(said)
        margins.append(0.3 * (sums[0] - sums[1]))
    assert found["tokens"] == tokens
    assert found["perplexity"] == pytest.approx(math.exp(nll / tokens), rel=1e-4)
    assert found["kl"] == pytest.approx(kl / tokens, rel=1e-3)
    assert found["margin"] == pytest.approx(sum(margins) / 5, rel=1e-3)
    assert found["accuracy"] == sum(margin > 0 for margin in margins) / 5


def test_a_model_beside_itself_prefers_nothing(models: tuple[Path, Path], tmp_path: Path) -> None:
    data = write(tmp_path / "prefs.jsonl", pairs(4))
    found = run(
        EVALUATE, {"model": str(models[0]), "reference": str(models[0]), "data": str(data)}, run_dir=tmp_path / "run"
    ).metrics
    assert (found["accuracy"], found["margin"], found["kl"]) == (0.5, 0.0, 0.0)


def test_stopped_and_gone_on_is_the_same(models: tuple[Path, Path], tmp_path: Path) -> None:
    told: dict[str, Any] = {"model": str(models[0]), "data": str(write(tmp_path / "chats.jsonl", chats(6)))}
    whole = run(EVALUATE, told, run_dir=tmp_path / "whole")
    first = run(EVALUATE, told, run_dir=tmp_path / "run", budget=Budget(steps=2))
    assert (first.status, first.metrics["rows"]) == ("budget_exhausted", 2)
    assert run(EVALUATE, told, run_dir=tmp_path / "run").metrics == whole.metrics
    assert "accuracy" not in whole.metrics
    assert "kl" not in whole.metrics


def test_another_vocabulary_cannot_be_compared_with(models: tuple[Path, Path], tmp_path: Path) -> None:
    small = load_model(find_base(str(models[0])))
    small.resize_token_embeddings(4_000)
    small.save_pretrained(tmp_path / "small")
    told = {
        "model": str(models[0]),
        "reference": str(tmp_path / "small"),
        "data": str(write(tmp_path / "chats.jsonl", chats(2))),
    }
    done = run(EVALUATE, told, run_dir=tmp_path / "run")
    assert "/reference" in done.error
    assert "another vocabulary" in done.error


def test_a_parameter_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidParams, match=r"/modell: no such parameter"):
        EVALUATE.plan({"modell": "sprout", "data": "x"})


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_interval_of_a_share_holds_it(of: int, share: float) -> None:
    low, high = wilson(share * of, of)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1


def test_a_tally_of_nothing_has_figures() -> None:
    assert Tally().metrics(referred=True) == {"rows": 0, "tokens": 0, "perplexity": 1.0, "kl": 0.0}

"""What DPO reads through TRL's trainer, and what it is held to: masks from raw rows, sums, extremes, the reference."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.plugins.dpo_by_hand import (
    LN2,
    LOSSES,
    PAD,
    ROWS,
    TRLS_OLD_NAME,
    WORDS,
    Build,
    batch,
    quiet,
    sums,
    tiny,
    torch,
    transformers,
)

pytestmark = TRLS_OLD_NAME


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    with quiet():
        yield Build(tmp_path_factory.mktemp("trl"))


def ids(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split()]


def test_plain_rows_are_prompt_completion_and_end(build: Build) -> None:
    trainer = build(rows=ROWS[:2])
    made = batch(trainer)
    assert made["input_ids"].tolist() == [
        [*ids("a b c d e <end>"), PAD],
        [*ids("c g <end>"), *[PAD] * 4],
        [*ids("a b f <end>"), *[PAD] * 3],
        ids("c h a b c d <end>"),
    ]
    assert made["completion_mask"].tolist() == [
        [0, 0, 1, 1, 1, 1, 0],
        [0, 1, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 1],
    ]
    assert made["attention_mask"].tolist() == [[1] * n + [0] * (7 - n) for n in (6, 3, 4, 7)]


@pytest.mark.parametrize("said", [True, False], ids=["explicit prompt", "implicit prompt"])
def test_conversations_are_masked_up_to_the_assistant(build: Build, said: bool) -> None:
    asked = [{"role": "user", "content": "a b"}]
    answers = {name: [{"role": "assistant", "content": text}] for name, text in (("chosen", "c d"), ("rejected", "e"))}
    row = {"prompt": asked, **answers} if said else {name: asked + answer for name, answer in answers.items()}
    trainer = build(rows=[row])
    made = batch(trainer)
    assert made["input_ids"][0].tolist() == ids("<user> a b <end> <assistant> c d <end>")
    assert made["completion_mask"].tolist() == [[0] * 5 + [1] * 3, [0] * 5 + [1, 1, 0]]
    assert made["input_ids"][1][:7].tolist() == ids("<user> a b <end> <assistant> e <end>")


def test_sprouts_conversations_are_masked_up_to_its_answer(build: Build) -> None:
    from agentkit_training.sprout_hf import sprout_folder

    tokenizer = transformers.AutoTokenizer.from_pretrained(sprout_folder())
    row = {
        "prompt": [{"role": "user", "content": "What is 2 + 3?"}],
        "chosen": [{"role": "assistant", "content": "It is 5."}],
        "rejected": [{"role": "assistant", "content": "No."}],
    }
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
        )
    )
    made = batch(build(model, rows=[row], processing_class=tokenizer))
    for number, text in enumerate(("It is 5.", "No.")):
        read = made["input_ids"][number][made["completion_mask"][number].bool()]
        assert tokenizer.decode(read) == f"<final>{text}<end>"  # that it answers, and calls no tool, is its choice too


def test_a_word_that_runs_over_the_boundary_takes_the_prompts_end_away(build: Build) -> None:
    """A trap: prompts have to end where a token does."""
    made = batch(build(rows=[{"prompt": "c a", "chosen": "b", "rejected": " d"}]))
    assert made["input_ids"].tolist() == [[*ids("c ab <end>"), PAD], ids("c a d <end>")]
    assert made["completion_mask"].tolist() == [[0, 1, 1, 0], [0, 1, 1, 1]]


def test_rows_whose_prompt_fills_all_are_left_out(build: Build) -> None:
    assert [len(row["prompt_ids"]) for row in build(max_length=4).train_dataset] == [2, 1, 1]


def noisy(trainer: Any, where: Callable[[Any], Any]) -> tuple[float, float]:
    """Return the loss of a batch before and after the states at some places are changed."""
    made = batch(trainer)
    places = where(made["completion_mask"])[..., None]

    def change(module: Any, given: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state + 3.0 * places
        return output

    before = trainer.compute_loss(trainer.model, made).item()
    hook = trainer.model.model.register_forward_hook(change)
    after = trainer.compute_loss(trainer.model, made).item()
    hook.remove()
    return before, after


@pytest.mark.parametrize("loss", LOSSES)
def test_what_the_model_says_of_the_prompt_changes_nothing(build: Build, loss: str) -> None:
    """The state before each completion token says that token; all other states could be anything."""
    trainer = build.of_loss(loss, tiny(1), ref_model=tiny(2))

    def says_no_completion(mask: Any) -> Any:
        return 1 - torch.nn.functional.pad(mask[:, 1:], (0, 1))

    before, after = noisy(trainer, says_no_completion)
    assert after == before
    before, after = noisy(trainer, lambda mask: 1 - says_no_completion(mask))
    assert after != pytest.approx(before, rel=1e-3)


def test_labels_of_the_prompt_are_never_asked_for(build: Build) -> None:
    trainer, asked = build(), {}

    def see(module: Any, positional: Any, given: dict[str, Any]) -> None:
        asked.update(given)

    made = batch(trainer)
    hook = trainer.model.register_forward_pre_hook(see, with_kwargs=True)
    trainer.compute_loss(trainer.model, made)
    hook.remove()
    read = made["completion_mask"].bool()
    assert (asked["labels"][~read] == -100).all()
    assert (asked["labels"][read] == made["input_ids"][read]).all()


def test_log_probabilities_are_summed(build: Build) -> None:
    trainer = build()
    trainer._metrics["train"].clear()
    trainer.model.train()
    trainer.compute_loss(trainer.model, batch(trainer))
    for name in ("chosen", "rejected"):
        wanted = np.mean([one.item() for one in sums(trainer.model, ROWS, name)[0]])
        assert trainer._metrics["train"][f"logps/{name}"] == pytest.approx([wanted], rel=1e-5)


def test_swapping_a_pair_turns_its_margin(build: Build) -> None:
    turned = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in ROWS]
    found = []
    for rows in (ROWS, turned):
        trainer = build(tiny(1), rows=rows, ref_model=tiny(2))
        loss = trainer.compute_loss(trainer.model.train(), batch(trainer)).item()
        metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
        found.append((loss, metrics["rewards/margins"], metrics["rewards/accuracies"]))
    (loss, margin, right), (other_loss, other_margin, other_right) = found
    assert other_margin == pytest.approx(-margin)
    assert abs(margin) > 0.01
    assert right + other_right == 1
    assert loss != pytest.approx(other_loss, rel=1e-3)


def test_a_tie_counts_as_wrong(build: Build) -> None:
    """A trap: before the first step the accuracy logged is 0, not a half."""
    trainer = build()
    trainer._metrics["train"].clear()
    trainer.compute_loss(trainer.model.train(), batch(trainer))
    assert trainer._metrics["train"]["rewards/accuracies"] == [0]


def extreme(build: Build, loss: str) -> tuple[bool, bool]:
    """Return whether the loss and all its gradients are finite with logits of 10,000 either way."""
    policy = tiny(1)
    with torch.no_grad():
        logits = policy(torch.arange(len(WORDS))[None]).logits
        policy.lm_head.weight *= 1e4 / logits.abs().max()
    turned = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in ROWS]
    trainer = build.of_loss(loss, policy, rows=[*ROWS, *turned], ref_model=tiny(2))
    value = trainer.compute_loss(trainer.model, batch(trainer))
    value.backward()
    slopes = [one.grad for one in policy.parameters()]
    return bool(value.isfinite()), all(bool(one.isfinite().all()) for one in slopes)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "discopop"])
def test_extreme_logits_stay_finite(build: Build, loss: str) -> None:
    assert extreme(build, loss) == (True, True)


def test_extreme_logits_break_discopop(build: Build) -> None:
    """A trap: exp(-beta delta) is infinite, and its weight 0, where a pair is very wrong."""
    assert extreme(build, "discopop") == (False, False)


# ------------------------------------------------------------------------------------------------ the reference


@pytest.fixture
def tuned(tmp_path: Path) -> Any:
    """A model that was loaded from a folder and trained on in memory."""
    tiny(1).save_pretrained(tmp_path / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    with torch.no_grad():
        for one in model.parameters():
            one += 0.1 * torch.randn(one.shape, generator=torch.Generator().manual_seed(0))
    return model


def test_without_a_reference_trl_takes_what_is_on_disk(build: Build, tuned: Any) -> None:
    """A trap: the reference of a model trained in memory is the model before that training, and nothing says so."""
    trainer = build(tuned, precompute_ref_log_probs=False)
    for found, wanted in zip(trainer.ref_model.parameters(), tiny(1).parameters(), strict=True):
        torch.testing.assert_close(found, wanted)
    assert trainer.compute_loss(trainer.model, batch(trainer)).item() != pytest.approx(LN2, abs=1e-3)


def test_a_model_that_was_never_saved_has_no_reference_to_take(build: Build) -> None:
    with pytest.raises((OSError, ValueError)):
        build(tiny(1), precompute_ref_log_probs=False)


@pytest.mark.parametrize("how", ["precomputed", "copied"])
def test_the_reference_is_the_model_before_training(build: Build, tuned: Any, how: str) -> None:
    trainer = build(tuned) if how == "precomputed" else build(tuned, ref_model=copy.deepcopy(tuned))
    assert trainer.compute_loss(trainer.model, batch(trainer)).item() == pytest.approx(LN2, abs=1e-6)


def test_the_reference_stays_while_the_policy_learns(build: Build, tuned: Any) -> None:
    trainer = build(tuned, max_steps=5, learning_rate=1e-2, save_strategy="no", disable_tqdm=True, logging_steps=1)
    before = {name: one.clone() for name, one in batch(trainer).items() if name.startswith("ref_")}
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert losses[0] == pytest.approx(LN2, abs=1e-4)
    assert losses[-1] < losses[0]
    for name, one in before.items():
        assert torch.equal(batch(trainer)[name], one)

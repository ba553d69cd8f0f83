"""Parameters of fine-tuning: what is refused, by which pointer, and what defaults come to."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit.errors import InvalidParams
from agentkit_training.finetune.params import DpoParams, GrpoParams, SftParams, TrainParams

PLAIN = {"data": "rows.jsonl", "out": "tuned"}


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        (SftParams, {"out": "tuned"}, "/data: is missing"),
        (SftParams, {**PLAIN, "step": 5}, "/step: no such parameter"),
        (SftParams, {**PLAIN, "steps": 0}, "/steps: Input should be greater than or equal to 1, not 0"),
        (SftParams, {**PLAIN, "learning_rate": 5}, "/learning_rate: "),
        (SftParams, {**PLAIN, "four_bit": True}, "/four_bit: weights of 4 bits cannot be trained"),
        (SftParams, {**PLAIN, "held_out": 0.9}, "/held_out: "),
        (DpoParams, {**PLAIN, "loss": ["sigmoyd"]}, "/loss/0: "),
        (DpoParams, {**PLAIN, "loss": []}, "/loss: "),
        (DpoParams, {**PLAIN, "beta": 0}, "/beta: "),
        (DpoParams, {**PLAIN, "label_smoothing": 0.1}, "/label_smoothing: only robust"),
        (DpoParams, {**PLAIN, "loss": ["exo_pair"]}, "/label_smoothing: exo_pair needs one"),
        (DpoParams, {**PLAIN, "loss": ["sft", "ipo"], "loss_weights": [1.0]}, "/loss_weights: 1 weights for 2 losses"),
        (GrpoParams, {**PLAIN, "generations": 1}, "/generations: "),
        (GrpoParams, {**PLAIN, "batch": 6}, "/batch: 6 x 1 is no multiple of 4 generations"),
    ],
)
def test_what_cannot_be_is_refused_by_its_pointer(kind: type[TrainParams], params: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        kind.parse(params)
    assert said in str(refused.value)


def test_several_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidParams, match=r"/data: is missing; /out: is missing"):
        SftParams.parse({})


@pytest.mark.parametrize("loss", ["robust", "exo_pair", "aot", "aot_unpaired"])
def test_smoothing_is_taken_by_the_losses_that_read_it(loss: str) -> None:
    assert DpoParams.parse({**PLAIN, "loss": [loss], "label_smoothing": 0.001}).label_smoothing == 0.001


def test_every_loss_of_the_installed_trl_can_be_named() -> None:
    trl = pytest.importorskip("trl")
    import inspect
    import re
    from typing import get_args

    from agentkit_training.finetune.params import Loss

    source = inspect.getsource(trl.DPOTrainer._compute_loss)
    assert set(re.findall(r'loss_type == "(\w+)"', source)) == set(get_args(Loss))


class TestResolved:
    """What defaults come to."""

    def test_steps_are_counted_in_rows(self) -> None:
        pytest.importorskip("torch")
        from agentkit_training.finetune.arguments import steps

        of = lambda **more: steps(DpoParams.parse({**PLAIN, **more}), 100)  # noqa: E731
        assert [of(), of(epochs=2), of(steps=7), of(batch=100), of(accumulate=4), of(processes=2)] == [
            13,
            26,
            7,
            1,
            4,
            7,
        ]
        assert steps(GrpoParams.parse(PLAIN), 10) == 5  # 40 completions, 8 at once

    def test_a_rate_goes_with_method_size_and_adapter(self) -> None:
        pytest.importorskip("torch")
        from agentkit_training.finetune.arguments import learning_rate

        rate = lambda size, **more: learning_rate(DpoParams.parse({**PLAIN, **more}), size)  # noqa: E731
        assert rate(10**6) > rate(10**9)
        assert rate(10**9, lora_rank=8) == pytest.approx(10 * rate(10**9))
        assert rate(10**9, lora_rank=8, learning_rate=0.5) == 0.5

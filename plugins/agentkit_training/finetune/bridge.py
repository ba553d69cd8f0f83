"""Between transformers' Trainer and a job: its steps become the job's, and the job stops it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from agentkit.errors import JobError

__all__ = ["Bridge", "Diverged", "KlProbe", "last_checkpoint"]

NAMES: Mapping[str, str] = {  # TRL's names -> ours, for people
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
    "logps/chosen": "logps_chosen",
    "logps/rejected": "logps_rejected",
    "mean_token_accuracy": "token_accuracy",
    "completions/mean_length": "length",
    "min_reward": "reward_min",
    "max_reward": "reward_max",
    "mean_reward": "reward_mean",
    "margin": "margin",
    "accuracy": "accuracy",
    "entropy": "entropy",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "loss": "loss",
    "kl": "kl",
    "reward": "reward",
    "reward_std": "reward_std",
    "num_tokens": "tokens",
}
_NOT_EVALUATED = ("tokens", "learning_rate", "grad_norm")


class Diverged(JobError):
    """The loss or its gradient is no finite number any more."""


class Reports(Protocol):
    """What a trainer is driven by: a `JobContext`, or a worker that passes on to one."""

    def step(self, step: int, total: int | None = None, metrics: Mapping[str, Any] | None = None) -> None:
        """Say that a step is done."""
        ...

    def should_stop(self) -> bool:
        """Whether to write a checkpoint and end."""
        ...


class Bridge(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Reports each step with its metrics, ends the run when the job is to stop, and refuses to go on after NaN.

    Args:
        reports: told of steps.
        agree: whether any process wants to stop, given whether this one does; all processes call it at each step.
    """

    def __init__(self, reports: Reports, agree: Callable[[bool], bool] = bool) -> None:
        self._reports, self._agree = reports, agree

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Pass on what was logged; decide whether to go on."""
        logs = logs or {}
        if "train_runtime" in logs:
            return
        found = renamed(logs)
        if any(name.startswith("eval_") for name in logs):
            self._reports.step(state.global_step, state.max_steps, found)
            return
        for name in ("loss", "grad_norm"):
            if not math.isfinite(found.get(name, 0.0)):
                raise Diverged(
                    f"{name} is {found[name]} at step {state.global_step}: training has diverged; lower --learning-rate "
                    f"(now {args.learning_rate:g}), or raise --warmup; the last checkpoint is from before"
                )
        self._reports.step(state.global_step, state.max_steps, found)
        if self._agree(self._reports.should_stop()):
            control.should_save = control.should_training_stop = True


class KlProbe(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Adds `eval_kl` to each evaluation: KL(policy || reference) a token, in nats.

    Exact over the vocabulary, the mean over completion tokens of held-out rows, each after the row's own tokens before it.
    The reference is the model as it is when this is made; as many tokens are taken as fit in `room` bytes.
    """

    def __init__(self, model: Any, sequences: list[tuple[list[int], int]], *, room: int = 64 << 20) -> None:
        """Take the reference's log-probabilities.

        Args:
            model: the policy before it is trained.
            sequences: token ids, and how many of them are the prompt.
            room: bytes that the reference's log-probabilities may take.
        """
        self._kept: list[tuple[torch.Tensor, int, torch.Tensor]] = []
        self.tokens, used = 0, 0
        for ids, first in sequences:
            size = (len(ids) - first) * model.config.vocab_size * 4
            if self._kept and used + size > room:
                break
            tokens = torch.tensor([ids])
            self._kept.append((tokens, first, _log_probs(model, tokens, first).cpu()))
            self.tokens, used = self.tokens + len(ids) - first, used + size

    def measure(self, model: Any) -> float:
        """Return the divergence now."""
        total = 0.0
        for tokens, first, reference in self._kept:
            now = _log_probs(model, tokens, first).cpu()
            total += float((now.exp() * (now - reference)).sum())
        return max(0.0, total / max(1, self.tokens))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        model: Any = None,
        **_: Any,
    ) -> None:
        """Add it to the figures of an evaluation."""
        if logs and "eval_loss" in logs and self._kept:
            logs["eval_kl"] = self.measure(model)
            state.log_history[-1]["eval_kl"] = logs[
                "eval_kl"
            ]  # a copy of `logs`, made before; kept with the checkpoint


def _log_probs(model: Any, tokens: torch.Tensor, first: int) -> torch.Tensor:
    """Return log-probabilities of what follows each place from the last of the prompt on, [completion, vocabulary]."""
    before = model.training
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=tokens.to(model.device)).logits[0, first - 1 : -1].float()
    model.train(before)
    return torch.log_softmax(logits, dim=-1)


def renamed(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures that we know, under our names; those of an evaluation keep `eval_`."""
    found = {}
    for name, value in logs.items():
        prefix = "eval_" if name.startswith("eval_") else ""
        ours = NAMES.get(name.removeprefix(prefix))
        if ours is not None and not (prefix and ours in _NOT_EVALUATED):
            found[prefix + ours] = float(value)
    return found


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last whole checkpoint; one whose state is not there or torn, since the writing was killed, is deleted."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        try:
            step = int(json.loads((path / "trainer_state.json").read_text())["global_step"])  # written last
        except (OSError, ValueError, KeyError):
            shutil.rmtree(path, ignore_errors=True)
            continue
        whole.append((step, path))
    return max(whole)[1] if whole else None

"""`agentkit train sft|dpo|reward|grpo`: one command a method, its options made from the method's parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.job_command import JobCommand
from agentkit.cli.output import say
from agentkit.cli.progress import sparkline

if TYPE_CHECKING:
    from agentkit.jobs import JobResult

__all__ = ["METHODS"]

CURVES = ("loss", "margin", "accuracy", "reward", "kl", "eval_loss", "eval_kl")


class Training(JobCommand):
    """A method's command, which shows its curves at the end."""

    def __init__(self, name: str, *, kind: str, help: str) -> None:
        super().__init__(
            name,
            job=f"agentkit_training.finetune.jobs:{name.upper()}",
            params=f"agentkit_training.finetune.params:{kind}",
            argument="data",
            help=help,
        )

    def show(self, done: JobResult, params: Mapping[str, Any], folder: Path) -> None:
        """Print curves and figures."""
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for curve in CURVES:
            values = [row[curve] for row in rows if row.get(curve) is not None]
            if len(values) > 1:
                click.echo(f"{curve:>10}  {sparkline(values, 40)}  {values[0]:.4g} -> {values[-1]:.4g}", err=True)
        super().show(done, params, folder)
        say(f"curves: {folder / 'artifacts' / 'curves.png'}")


_SHARED = """
    It is a job in a process of its own: Ctrl-C ends it after a checkpoint, and the same command goes on from there, also after
    a crash. Curves are in the run folder as curves.png (and for TensorBoard, where that is installed).
"""

METHODS = (
    Training(
        "sft",
        kind="SftParams",
        help=f"""Fine-tune a model on the texts or conversations in DATA.

    DATA is .jsonl or .parquet: `messages`, or `prompt` and `completion`, or `text`.
    {_SHARED}
    \b
    agentkit train sft chats.jsonl -o tuned
    agentkit train sft chats.jsonl -o adapter -m ./llama-3.2-1b --lora-rank 16 --epochs 3
    agentkit train sft chats.jsonl -o tuned --plan
    """,
    ),
    Training(
        "dpo",
        kind="DpoParams",
        help=f"""Train a model to prefer the chosen answers in DATA to the rejected ones.

    DATA is .jsonl or .parquet with `prompt`, `chosen` and `rejected`. The reference is the model itself as it was.
    {_SHARED}
    \b
    agentkit train dpo prefs.jsonl -o tuned --steps 50
    agentkit train dpo prefs.jsonl -o tuned --loss ipo --beta 0.05
    agentkit train dpo prefs.jsonl -o adapter --lora-rank 8 --json
    """,
    ),
    Training(
        "reward",
        kind="RewardParams",
        help=f"""Train a reward model, which scores texts, on the pairs in DATA.

    DATA is .jsonl or .parquet with `prompt`, `chosen` and `rejected`.
    {_SHARED}
    \b
    agentkit train reward prefs.jsonl -o scorer --epochs 2
    """,
    ),
    Training(
        "grpo",
        kind="GrpoParams",
        help=f"""Train a model by a reward that can be verified on its own answers to the prompts in DATA.

    DATA is .jsonl or .parquet with `prompt`, and `answer` for the rewards `exact` and `number`.
    {_SHARED}
    \b
    agentkit train grpo sums.jsonl -o tuned --reward number --steps 100
    agentkit train grpo tasks.jsonl -o tuned --reward my_rewards:is_polite
    """,
    ),
)

"""What fine-tuning jobs are asked for: validated values, with defaults that work on a small machine.

Guarantees: an unknown or impossible parameter is `InvalidParams` with a JSON pointer. Where a file is given a relative
path, it is relative to the folder that the job is started from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from agentkit.jobs.params import Checked

__all__ = ["DpoParams", "GrpoParams", "RewardParams", "SftParams", "TrainParams"]

Loss = Literal[
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero",
    "apo_down", "discopop", "sft", "sigmoid_norm",
]  # fmt: skip
Divergence = Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"]
SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")  # the losses that read label_smoothing in TRL

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]


class TrainParams(Checked):
    """What every kind of fine-tuning takes."""

    names_or_paths: ClassVar[tuple[str, ...]] = ("model", "reference", "accelerate")

    model: str = Field("sprout", min_length=1, description="sprout, a folder, or a Hugging Face id")
    data: Path = Field(description="rows to train on: .jsonl or .parquet")
    out: Path = Field(description="folder for the trained model, or adapter")
    eval_data: Path | None = Field(None, description="rows to evaluate on")
    held_out: float = Field(
        0.1, ge=0, le=0.5, description="share of `data` to evaluate on where there is no `eval_data`"
    )
    steps: Count | None = Field(None, description="optimiser steps; overrides epochs")
    epochs: float = Field(1.0, gt=0, le=1_000, description="times that all rows are read")
    batch: Count = Field(8, description="rows a process reads at once")
    accumulate: Count = Field(1, description="batches a step")
    learning_rate: Rate | None = Field(None, description="peak; chosen by method and size where none is given")
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = Field(
        "cosine", description="of the rate, after the warm-up"
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps that the rate rises in")
    weight_decay: float = Field(0.0, ge=0, le=1, description="of AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to it")
    max_length: int | None = Field(None, ge=8, description="tokens a row may have; the model's context, or 1024")
    lora_rank: int = Field(0, ge=0, le=1_024, description="0 trains all weights")
    lora_alpha: float | None = Field(None, gt=0, description="twice the rank")
    lora_targets: tuple[str, ...] = Field((), description="modules to adapt; all linear layers but the head")
    four_bit: bool = Field(False, description="load the base in 4 bits (bitsandbytes, NF4); needs a GPU and a LoRA")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 on a GPU that has it")
    gradient_checkpointing: bool = Field(False, description="less memory, a third more time")
    processes: Count = Field(1, description="of data-parallel training on this machine")
    accelerate: str | None = Field(None, description="accelerate's configuration: multi_gpu, zero3, fsdp2, or a file")
    threads: Count | None = Field(None, description="a process; all cores divided by the processes")
    seed: int = Field(0, ge=0, lt=2**32, description="of the order, of new weights and of what is sampled")
    save_every: Count = Field(50, description="steps between checkpoints")
    skip_bad_rows: bool = Field(False, description="leave out rows that cannot be used, instead of refusing the file")
    force: bool = Field(False, description="write over `out`")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.four_bit and not self.lora_rank:
            raise ValueError("four_bit: weights of 4 bits cannot be trained themselves; set lora_rank, 16 for instance")
        return self


class SftParams(TrainParams):
    """Supervised fine-tuning: the loss is that of the completions, or of the assistant's turns, or of plain texts."""

    packing: bool = Field(False, description="several rows in one sequence")


class DpoParams(TrainParams):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290) and the other losses of TRL's trainer."""

    loss: tuple[Loss, ...] = Field(("sigmoid",), min_length=1, description="several are added up")
    loss_weights: tuple[float, ...] | None = Field(None, description="of each loss; 1 where none is given")
    beta: float = Field(0.1, gt=0, description="how dear it is to leave the reference")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="share of labels taken to be wrong")
    divergence: Divergence = Field("reverse_kl", description="that rewards are reckoned by (f-DPO, arXiv 2309.16240)")
    reference: str | None = Field(
        None, description="model that the policy is held to; the model itself, before training"
    )

    @model_validator(mode="after")
    def _losses(self) -> Self:
        if self.loss_weights is not None and len(self.loss_weights) != len(self.loss):
            raise ValueError(f"loss_weights: {len(self.loss_weights)} weights for {len(self.loss)} losses")
        if self.label_smoothing and not set(self.loss) & set(SMOOTHED):
            raise ValueError(
                f"label_smoothing: only {', '.join(SMOOTHED)} read it; {', '.join(self.loss)} would ignore it"
            )
        if "exo_pair" in self.loss and not self.label_smoothing:
            raise ValueError("label_smoothing: exo_pair needs one above 0, 0.001 for instance")
        return self


class RewardParams(TrainParams):
    """A reward model: Bradley-Terry on the difference of the two scores of a pair."""

    centre: float | None = Field(
        None, gt=0, description="weight of the squared sum of a pair's scores; keeps them near 0"
    )


class GrpoParams(TrainParams):
    """Group-relative policy optimisation (Shao et al. 2024, arXiv 2402.03300) with a reward that can be verified."""

    reward: str = Field("exact", description="exact, number, json, or module:function of your own")
    generations: int = Field(4, ge=2, description="completions a prompt")
    completion_length: Count = Field(64, description="tokens of a completion")
    temperature: float = Field(1.0, gt=0, description="of the sampling")
    beta: float = Field(0.0, ge=0, description="weight of the divergence from the reference")

    @model_validator(mode="after")
    def _groups(self) -> Self:
        if self.batch * self.processes * self.accumulate % self.generations:
            raise ValueError(
                f"batch: {self.batch} x {self.accumulate} is no multiple of {self.generations} generations"
            )
        return self

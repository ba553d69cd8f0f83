"""What a training is asked for: validated values, with defaults that work on two cores in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentkit.jobs.params import Checked

__all__ = ["TrainVisionParams"]

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]


class TrainVisionParams(Checked):
    """An image encoder, and a resampler that lets a language model read what it sees."""

    names_or_paths: ClassVar[tuple[str, ...]] = ()

    data: Path = Field(description="pictures with attributes: metadata.jsonl, a CSV, or a folder for each class")
    out: Path = Field(description="folder for the model")
    language_model: Path = Field(description="the language model's folder: a Llama as transformers saves it")
    gguf: Path | None = Field(None, description="the same model for llama.cpp; what is trained is tied to this file")
    held_out: float = Field(0.04, gt=0, le=0.5, description="share of the pictures that only measure")
    size: int = Field(64, ge=16, le=256, multiple_of=8, description="side that pictures are brought to, in pixels")
    latents: int = Field(8, ge=1, le=64, description="rows that the language model reads for a picture")
    width: int = Field(192, ge=16, le=1024, multiple_of=16, description="of the resampler")
    layers: int = Field(2, ge=1, le=6, description="of the resampler")
    reads_words: bool = Field(True, description="the resampler reads the question beside the picture")
    encoder_steps: Count = Field(1_200, description="optimiser steps of the towers")
    encoder_batch: int = Field(192, ge=8, le=4096, description="pictures a step, which are each other's wrong answers")
    encoder_rate: Rate = Field(2e-3, description="peak learning rate of the towers")
    steps: Count = Field(1_800, description="optimiser steps of the resampler")
    batch: int = Field(64, ge=2, le=4096, description="questions a step")
    rate: Rate = Field(1.5e-3, description="peak learning rate of the resampler")
    captions: float = Field(0.2, ge=0, le=1, description="share of the questions that ask for a caption")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the processor has it"
    )
    threads: Count | None = Field(None, description="all cores where none is given")
    save_every: Count = Field(100, description="steps between checkpoints")
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, wording and changes to pictures")
    force: bool = Field(False, description="write over `out`")

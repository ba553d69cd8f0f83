"""What a measurement is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agentkit.jobs.params import Checked

__all__ = ["MeasureParams", "Student"]

Student = Literal["cnn", "svm"]
Share = Annotated[float, Field(gt=0, le=1)]


class MeasureParams(Checked):
    """Parameters of the job `measure`. Relative paths are relative to where the job is started from."""

    names_or_paths = ("against",)

    data: Path = Field(description="the synthetic data: a folder of labelled images, or of explanation traces")
    out: Path = Field(description="folder for measure.json, measure.md and measure.png")
    against: str | None = Field(None, description="real images: digits, products, or a folder of labelled images")
    label: str | None = Field(None, description="attribute of the images to learn; the first by default")
    size: int | None = Field(
        None, ge=8, le=256, description="side of the images in pixels; 8 for digits, 32 for others"
    )
    shares: tuple[Share, ...] = Field(
        (0.01, 0.1, 0.5, 1.0), min_length=1, description="shares of the real labels that are mixed in"
    )
    curve: tuple[Share, ...] = Field(
        (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
        min_length=1,
        description="shares that real labels alone are measured at",
    )
    labels_seed: int | None = Field(
        None,
        ge=0,
        description="always the labels of this seed, as a generator that saw only these had them; else each seed has its own",
    )
    generator_labels: int | None = Field(
        None,
        ge=0,
        description="real labels that the generator saw: they are not saved; its manifest says so by default",
    )
    student: tuple[Student, ...] = Field(("cnn",), min_length=1, description="who learns images")
    families: tuple[str, ...] = Field((), description="families of traces; all by default")
    systems: tuple[str, ...] = Field((), description="system messages of traces, that is styles; all by default")
    train_rows: int = Field(20_000, ge=50, description="traces of a family to train on, at most")
    test_rows: int = Field(200, ge=20, description="held-out traces of a family to score, at most")
    steps: int | None = Field(
        None, ge=10, description="optimiser steps of every student; 400 for images, 4000 for traces"
    )
    seeds: int | None = Field(None, ge=1, le=100, description="students for each figure; 5 for images, 3 for traces")
    seed: int = Field(0, ge=0, lt=2**31, description="the first of them")
    workers: int = Field(1, ge=1, le=64, description="processes, of one thread each; the figures do not depend on them")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if 1.0 not in self.curve:
            raise ValueError("curve: it has to end at 1: all the real labels are what is compared with")
        return self

"""What the image jobs are asked for: validated values, with defaults that work on a small machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from agentkit.jobs.params import Checked
from agentkit_synthesis.images.sources import DIGITS, PRODUCTS, RENDERED
from agentkit_synthesis.images.worlds import WORLDS

__all__ = ["ImagesParams", "SourceParams", "TrainImagesParams"]

Count = Annotated[int, Field(ge=1)]


class SourceParams(Checked):
    """Which real images, and how a model of them is trained."""

    names_or_paths: ClassVar[tuple[str, ...]] = ("source", "model")

    source: str | None = Field(
        None,
        min_length=1,
        description="digits, products, shop, or a folder of labelled images; digits where none is given",
    )
    size: int | None = Field(
        None, ge=8, le=64, multiple_of=8, description="side of the images in pixels; 8 for digits, else 32"
    )
    attributes: tuple[str, ...] = Field((), description="those to learn; all where none is named")
    skip_bad: bool = Field(False, description="leave out files that cannot be read, instead of refusing the folder")
    rendered: int = Field(RENDERED, ge=200, le=1_000_000, description="products that are drawn to learn from")
    labelled: float = Field(
        1.0, gt=0, le=1, description="share of the labels that may be used; the others are forgotten"
    )
    unlabelled: bool = Field(True, description="learn from images whose label is not known, too")
    guess: float = Field(
        0.95, gt=0, le=1, description="to these the judge's label is given where it is so sure; 1: to none"
    )
    train_steps: Count | None = Field(None, description="of the diffusion model; chosen by size where none is given")
    judge_steps: Count | None = Field(None, description="of the judge; chosen by size where none is given")
    batch: int = Field(64, ge=2, le=4096, description="images a step")
    rate: float = Field(1e-3, gt=0, le=1, description="peak learning rate")
    drop: float = Field(0.15, ge=0, lt=1, description="share of labels dropped, which guidance needs")
    ema: float = Field(0.995, ge=0, lt=1, description="most that stays of the average of weights, a step")
    min_snr: float | None = Field(
        None, gt=0, description="gamma of the min-SNR weights; none: all steps weigh the same"
    )
    prediction: Literal["v_prediction", "epsilon", "sample"] = Field("v_prediction", description="what is predicted")
    schedule: Literal["squaredcos_cap_v2", "linear", "scaled_linear"] = Field(
        "squaredcos_cap_v2", description="of the noise"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of training; auto: bfloat16 above 16 pixels where the processor has it"
    )
    threads: Count | None = Field(None, description="all cores where none is given")
    save_every: Count = Field(200, description="steps between checkpoints")
    seed: int = Field(0, ge=0, lt=2**32, description="of everything that is drawn")
    force: bool = Field(False, description="write over `out`")

    @property
    def real(self) -> str:
        """The source, resolved."""
        return self.source or DIGITS

    @property
    def steps(self) -> int:
        """Of the diffusion model."""
        return self.train_steps or (2_500 if self.small else 3_000)

    @property
    def judging(self) -> int:
        """Steps of the judge."""
        return self.judge_steps or (800 if self.small else 2_000)

    @property
    def small(self) -> bool:
        """Whether the images are of at most 16 pixels."""
        return self.real == DIGITS or (self.size is not None and self.size <= 16)


class TrainImagesParams(SourceParams):
    """A model of labelled images."""

    out: Path = Field(description="folder for the model")


class ImagesParams(SourceParams):
    """Labelled images to order."""

    out: Path = Field(description="folder for the images")
    count: int = Field(200, ge=1, le=10_000_000, description="images wanted, exactly")
    where: tuple[str, ...] = Field((), description="attribute=value, or attribute=value|value; all hold")
    without: tuple[str, ...] = Field(
        (), description="attribute=value,attribute=value: what is all of that is left out; may be given again"
    )
    only: tuple[str, ...] = Field(
        (), description="the same: what is all of that, or of another one given, and nothing else"
    )
    method: Literal["diffusion", "render"] = Field(
        "diffusion", description="render draws products, or the shop, without a model and exactly"
    )
    model: str | None = Field(
        None, min_length=1, description="a trained folder, or a pipeline of diffusers: a folder or a Hugging Face id"
    )
    prompt: str | None = Field(None, description="what a pipeline is told, with {attribute} in it")
    sampler: Literal["ddim", "ddpm"] = Field("ddim", description="ddim needs few steps, ddpm all of them")
    sampling_steps: Count | None = Field(None, description="30 for ddim, 1000 for ddpm, 25 for a pipeline")
    guidance: float | None = Field(
        None,
        ge=0,
        le=50,
        description="1: the conditional model itself; 0: labels ignored; 1.5 where none is given, 7.5 for a pipeline",
    )
    confidence: float = Field(0.9, ge=0, le=1, description="least probability that the judge gives every label")
    keep_copies: bool = Field(False, description="keep images that nearly repeat a training image")
    most_tries: Count = Field(50, description="images made for each that is wanted, at most")
    at_once: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="images sampled together; 64, of a pipeline 4; another number gives other images",
    )
    preview: bool = Field(False, description="ten images in seconds, and nothing is trained")

    @property
    def real(self) -> str:
        """The source, resolved."""
        return self.source or (PRODUCTS if self.method == "render" else DIGITS)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method == "render" and self.source not in (None, *WORLDS):
            raise ValueError(f"method: only products can be rendered, or the shop, not {self.source}; take diffusion")
        if self.method == "render" and self.model is not None:
            raise ValueError(f"model: rendering uses none; leave out {self.model}, or take diffusion")
        if self.sampler == "ddpm" and (self.sampling_steps or 0) > 1000:
            raise ValueError("sampling_steps: the process has 1000")
        return self

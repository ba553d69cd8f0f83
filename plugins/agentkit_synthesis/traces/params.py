"""What a set of explanation traces is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from agentkit.jobs.params import Checked
from agentkit_synthesis.traces.source import FAMILIES, SOLVER

__all__ = ["TracesParams"]

Family = Literal["arithmetic", "dates", "sets_graphs", "tables", "logs_configs", "tool_choice", "code_reading"]
Level = Annotated[int, Field(ge=1, le=3)]
LEVELS = (1, 2, 3)
SAMPLES, TEMPERATURE, MAX_TOKENS = 4, 0.8, 512  # of a teacher that is a language model


class TracesParams(Checked):
    """Explanation traces by program, or by a language model that is checked against the program."""

    names_or_paths: ClassVar[tuple[str, ...]] = ("teacher",)

    out: Path = Field(description="folder for the data set")
    count: int = Field(10_000, ge=1, le=100_000_000, description="verified rows, training and test together")
    seed: int = Field(0, ge=0, lt=2**32, description="of the problems and their wording")
    workers: int | None = Field(None, ge=1, le=256, description="processes; all cores, or 1 with a model as teacher")
    families: tuple[Family, ...] = Field((), description="of problems; all seven where none is named")
    difficulty: tuple[Level, ...] = Field((), description="1 to 3; all where none is named")
    explain: bool = Field(True, description="false gives answers only, to the same problems under the same ids")
    pairs: bool = Field(False, description="write pairs.jsonl too: each right solution against one with a wrong step")
    parquet: bool = Field(False, description="write Parquet beside JSON Lines")
    test_share: float = Field(0.1, ge=0, le=0.9, description="share of the problems that are kept for test.jsonl")
    teacher: str = Field(SOLVER, min_length=1, description="solver, or a model: sprout, a .gguf, http://host:port/v1")
    samples: int | None = Field(None, ge=1, le=64, description=f"tries a model has at a problem; {SAMPLES}")
    temperature: float | None = Field(None, ge=0, le=2, description=f"of a model's sampling; {TEMPERATURE}")
    max_tokens: int | None = Field(None, ge=16, le=8_192, description=f"of a model's reply; {MAX_TOKENS}")
    force: bool = Field(False, description="write over `out`")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.explain and self.pairs:
            raise ValueError(
                "pairs: answers alone have no step that could go wrong; leave out pairs, or set explain to true"
            )
        if self.teacher == SOLVER:
            for name in ("samples", "temperature", "max_tokens"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: is a model's; the solver needs none. Name a teacher, or leave it out")
            return self
        if not self.explain:
            raise ValueError("explain: a teacher that is not to explain has nothing to do; use the solver")
        if self.pairs:
            raise ValueError("pairs: are made of the solver's steps; leave them out with another teacher")
        if self.temperature == 0 and (self.samples or SAMPLES) > 1:
            raise ValueError("samples: at temperature 0 all are the same; set samples to 1, or a temperature above 0")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """What rows depend on, for the row source."""
        known: dict[str, Any] = {
            "families": [name for name in FAMILIES if name in self.families or not self.families],
            "difficulty": sorted(set(self.difficulty)) or list(LEVELS),
            "explain": self.explain,
            "pairs": self.pairs,
            "test_share": self.test_share,
        }
        if self.teacher == SOLVER:
            return known
        return {
            **known,
            "teacher": self.teacher,
            "samples": self.samples or SAMPLES,
            "temperature": TEMPERATURE if self.temperature is None else self.temperature,
            "max_tokens": self.max_tokens or MAX_TOKENS,
        }

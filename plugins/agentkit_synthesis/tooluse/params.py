"""What the job that makes tool-use traces is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from agentkit.jobs.params import Checked
from agentkit_synthesis.tooluse.choosing import options_of
from agentkit_synthesis.tooluse.own.rows import OWN_SHARES
from agentkit_synthesis.tooluse.values import Family

__all__ = ["ToolsParams"]

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=0.5)]


class ToolsParams(Checked):
    """Traces of tools being used: of invented ones, or of the user's own."""

    names_or_paths: ClassVar[tuple[str, ...]] = ("source", "paraphraser")

    out: Path = Field(description="folder for the data set")
    count: Count = Field(1_000, description="rows, all of them verified")
    source: str | None = Field(
        None,
        min_length=1,
        description="your own tools: a module or .py file, with :name,... for some of them, or installed tools by name",
    )
    families: tuple[Family, ...] = Field((), description="kinds of task, instead of all; may be given again")
    distractors: int = Field(8, ge=0, le=12, description="most tools beside those that a task needs")
    errors: Share = Field(0.12, description="share of rows of your own tools to spend on calls that fail")
    allow_effects: bool = Field(
        False, description="run tools that change something too, in a temporary folder; without, only those that do not"
    )
    timeout_s: float = Field(5.0, gt=0, le=600, description="seconds that one call of a tool of yours may take")
    test_share: Share = Field(0.1, description="share of the problems that go to test.jsonl")
    paraphraser: str | None = Field(
        None, min_length=1, description="a model that says requests in other words: a .gguf, http://host:port/v1"
    )
    references: bool = Field(
        False, description="answers quote whole results as <rN>, which sprout reads and other models do not"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of all that is drawn")
    workers: Count | None = Field(
        None, description="processes; one a core, or 1 with a paraphraser. The rows do not depend on it"
    )
    parquet: bool = Field(False, description="write Parquet files as well")
    force: bool = Field(False, description="write over OUT")

    @property
    def options(self) -> dict[str, Any]:
        """What the rows depend on, but for the seed.

        Raises:
            InvalidParams: the tools cannot be loaded, none of them may be run, or nothing can be drawn for them.
        """
        return options_of(self)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.source is None and self.allow_effects:
            raise ValueError("allow_effects: invented tools only change their own worlds; it is for source")
        odd = [one for one in self.families if one not in OWN_SHARES and one != "recovery"]
        if self.source is not None and odd:
            raise ValueError(f"families: {odd[0]} is not made for tools of your own")
        return self

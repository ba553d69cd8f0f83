"""What a quality report is asked for."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from agentkit.jobs.params import Checked

__all__ = ["ReportParams"]


class ReportParams(Checked):
    """Parameters of the job `report`. Relative paths are relative to where the job is started from."""

    names_or_paths = ("against",)

    data: Path = Field(description="a data set's folder, a JSON Lines file, or a folder of labelled images")
    out: Path | None = Field(None, description="folder for report.json and report.html; the data set's own by default")
    against: str | None = Field(None, description="real images to compare with: digits, products, or a folder")
    label: str | None = Field(None, description="attribute of images that is their class; the first by default")
    near_rows: int = Field(20_000, ge=0, description="rows looked at for near-duplicates and for diversity, at most")
    near_threshold: float = Field(
        0.8, gt=0, le=1, description="Jaccard similarity from which two rows are near-duplicates"
    )
    verify_rows: int = Field(1_000, ge=0, description="rows given to the data set's verifier, at most")
    trust_verifier: bool = Field(
        False, description="run a verifier that is not agentkit's own; it is code the manifest names"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of which rows are looked at")

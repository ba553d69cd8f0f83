"""What indexing is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from agentkit.jobs.params import Checked

__all__ = ["IndexParams"]


class IndexParams(Checked):
    """Parameters of the job `index_images`. Relative paths are relative to where the job is started from."""

    names_or_paths = ("encoder",)

    folder: Path = Field(description="pictures to index, with those in folders inside it")
    collection: Path | None = Field(None, description="where the collection lies; .agentkit-images in the folder by default")  # fmt: skip
    encoder: str = Field(
        "auto", min_length=1, description="whose vectors: a name, a Hugging Face id, or a local folder"
    )
    recursive: bool = Field(True, description="whether folders inside the folder are looked into")
    batch: int = Field(32, ge=1, le=4096, description="images embedded at once")
    thumbnail: int = Field(96, ge=0, le=512, description="pixels of a thumbnail's longer side; 0 keeps none")
    dtype: Literal["float16", "float32"] = Field("float16", description="of the vectors of a new collection")
    reindex: bool = Field(False, description="where the collection holds another encoder's vectors, drop them and embed all anew")  # fmt: skip
    wait_s: float = Field(0, ge=0, description="seconds to wait for another writer of the collection to end")

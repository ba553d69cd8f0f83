"""Data sets by program: a pure function makes each row; all else (workers, resuming, files, cards) is here.

figures = make_rows("my_module:make", options, count=10_000, seed=0, workers=2, out=out, context=context, kind="mine")
rows = preview("my_module:make", options, seed=0)
again = row(out, "mine-0-17")
"""

from __future__ import annotations

from agentkit_synthesis.dataset.looking import preview, row
from agentkit_synthesis.dataset.making import make_rows
from agentkit_synthesis.dataset.manifest import Manifest, read_manifest
from agentkit_synthesis.dataset.rows import Rejected, RowSource, Split, split_of

__all__ = ["Manifest", "Rejected", "RowSource", "Split", "make_rows", "preview", "read_manifest", "row", "split_of"]

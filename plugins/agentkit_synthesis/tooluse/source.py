"""The row source of tool-use traces: invented tools, or the user's own where the options say from where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkit_synthesis.dataset.rows import Rejected
from agentkit_synthesis.tooluse import rows
from agentkit_synthesis.tooluse.checking import verify as verify_invented
from agentkit_synthesis.tooluse.own import rows as own
from agentkit_synthesis.tooluse.own.checking import verify_own
from agentkit_synthesis.tooluse.paraphrasing import opened, paraphrased
from agentkit_synthesis.tooluse.references import spelled_out, with_references

__all__ = ["make", "verify"]


def make(options: Mapping[str, Any], seed: int, index: int) -> Mapping[str, Any] | Rejected:
    """Return row `index`, or why it was rejected.

    Options are those of `rows.make`, or of `own.rows.make` where there is `from`; `paraphraser`, a model that says requests in
    other words; and `references`, for answers that quote.

    Raises:
        JobError: a tool of the user's hangs.
        EngineError, ModelError: the paraphraser is not there, or failed.
    """
    made = own.make(options, seed, index) if "from" in options else rows.make(options, seed, index)
    if isinstance(made, Rejected):
        return made
    if "paraphraser" in options:
        engine = opened(options["paraphraser"])
        made = paraphrased(made, engine, seed=seed * 1_000_003 + index * 101)
        if wrong := verify(made):
            return Rejected(f"the paraphrase does not verify, {wrong[0]}")
    return with_references(made) if options.get("references") else made


def verify(row: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a row: nothing, if all its calls give again what it shows, and its goal holds.

    Raises:
        JobError: a tool of the user's hangs.
    """
    row = spelled_out(row)
    return verify_own(row) if "from" in row["world"] else verify_invented(row)

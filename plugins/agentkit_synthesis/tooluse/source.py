"""The row source of tool-use traces: invented tools, or the user's own where the options say from where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkit_synthesis.dataset.rows import Rejected
from agentkit_synthesis.tooluse import rows
from agentkit_synthesis.tooluse.checking import verify as verify_invented
from agentkit_synthesis.tooluse.own import rows as own
from agentkit_synthesis.tooluse.own.checking import verify_own
from agentkit_synthesis.tooluse.references import spelled_out, with_references

__all__ = ["make", "verify"]


def make(options: Mapping[str, Any], seed: int, index: int) -> Mapping[str, Any] | Rejected:
    """Return row `index`, or why it was rejected.

    Options are those of `rows.make`, or of `own.rows.make` where there is `from`; and `references`, for answers that quote.

    Raises:
        JobError: a tool of the user's hangs.
    """
    made = own.make(options, seed, index) if "from" in options else rows.make(options, seed, index)
    return with_references(made) if options.get("references") and not isinstance(made, Rejected) else made


def verify(row: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a row: nothing, if all its calls give again what it shows, and its goal holds.

    Raises:
        JobError: a tool of the user's hangs.
    """
    row = spelled_out(row)
    return verify_own(row) if "from" in row["world"] else verify_invented(row)

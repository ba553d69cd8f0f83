"""Places at which a test may kill this process: `AGENTKIT_FAILPOINT=after_intent`, or `after_intent:2` for the second time.

Where the variable is not set, passing such a place costs one look at an empty dictionary.
"""

from __future__ import annotations

import os
import signal
import sys

POINTS = (
    "before_first_checkpoint", "before_intent", "after_intent", "mid_effect", "after_effect", "before_done", "after_done",
    "in_put_writes", "in_put", "in_finish",
)  # fmt: skip
_armed: dict[str, int] = {}


def arm(text: str) -> None:
    """Choose the place by its name, with the number of the time after a colon; "" for none.

    Raises:
        SystemExit: there is no such place.
    """
    _armed.clear()
    if not text:
        return
    name, _, count = text.partition(":")
    if name not in POINTS or not (count or "1").isdigit():
        sys.exit(f"AGENTKIT_FAILPOINT={text}: no such place; one of {', '.join(POINTS)}, maybe with :N")
    _armed[name] = int(count or 1)


def reach(name: str) -> None:
    """End the process at once, as by `kill -9`, if this is the place and the time."""
    if not _armed or name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] == 0:
        if sys.platform == "win32":
            os._exit(137)
        os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get("AGENTKIT_FAILPOINT", ""))

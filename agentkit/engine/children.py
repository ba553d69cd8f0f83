"""Processes of our own that try what may end a process: a model file, a processor's instructions."""

from __future__ import annotations

import os
import sys


def environment() -> dict[str, str]:
    """Return what a child needs to import what this process imports, and to die without a word where it has to."""
    paths = os.pathsep.join(place for place in sys.path if place)
    return {**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "GGML_NO_BACKTRACE": "1"}

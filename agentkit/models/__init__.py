"""Models by name: where they are, which there are, and what their files hold."""

from __future__ import annotations

from agentkit.models.names import WEIGHTS, ModelRef, ModelRow, known, pull, resolve

__all__ = ["WEIGHTS", "ModelRef", "ModelRow", "known", "pull", "resolve"]

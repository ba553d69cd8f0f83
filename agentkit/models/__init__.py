"""Models by name: where they are, which there are, and what their files hold."""

from __future__ import annotations

from agentkit.models.names import ModelRef, ModelRow, known, pull, resolve

__all__ = ["ModelRef", "ModelRow", "known", "pull", "resolve"]

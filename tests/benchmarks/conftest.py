"""The figures' own package lies beside the source, not in the wheel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPROUT = ROOT / "agentkit" / "models" / "weights" / "sprout.gguf"
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


@pytest.fixture
def sprout() -> Path:
    """The shipped model; skips where it has not been built yet."""
    if not SPROUT.is_file():
        pytest.skip("agentkit/models/weights/sprout.gguf is not built; scripts/build_sprout.py builds it")
    return SPROUT

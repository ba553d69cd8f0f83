"""What a folder with an embedded model holds, and what it says about itself. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agentkit.errors import ModelFileError, ModelNotFound
from agentkit.jobs import write_atomic

__all__ = ["ABOUT", "QUESTIONS", "SHIPPED", "WORDS", "About", "read_about", "write_about"]

ABOUT, WORDS = "about.json", "words.json"
QUESTIONS = "questions"  # the folder of the tower that reads questions, and of its words
SHIPPED = Path(__file__).parents[1] / "weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a model says about itself.

    Attributes:
        name: what people call it.
        size: side of the pictures that it sees, in pixels.
        vocabulary: attribute -> values, as it was trained.
        language_model: SHA-256 of the GGUF that reads its latents; empty where it was trained for none.
        reads_words: whether latents depend on the question.
        figures: what was measured at the end of the training, on pictures held out.
        recipe: how it was trained.
    """

    name: str
    size: int
    vocabulary: Mapping[str, tuple[str, ...]]
    language_model: str = ""
    reads_words: bool = True
    figures: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


def read_about(folder: Path) -> About:
    """Return what a folder's model says about itself.

    Raises:
        ModelNotFound: there is none.
        ModelFileError: it cannot be read.
    """
    path = folder / ABOUT
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return About(**{**told, "vocabulary": {name: tuple(found) for name, found in told["vocabulary"].items()}})
    except FileNotFoundError as error:
        raise ModelNotFound(f"{path}: there is no such file; `agentkit see train` makes a model, and the package brings one") from error  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelFileError(f"{path}: does not describe a model ({error}); train it again") from error


def write_about(folder: Path, about: About) -> None:
    """Write what a model says about itself."""
    write_atomic(folder / ABOUT, json.dumps(asdict(about), indent=1, ensure_ascii=False) + "\n")

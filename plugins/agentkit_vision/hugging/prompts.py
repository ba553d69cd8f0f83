"""What is said to a model so that it describes a picture or answers, and what of its answer is kept.

Chat models are asked by their own chat template. The few that have none and are known here are asked as their papers
do: BLIP-2 (arXiv 2301.12597, section 4.2) with nothing, or `Question: ... Answer:`; PaliGemma (arXiv 2407.07726,
section 3.2.1) with `caption en`, or `answer en ...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CAPTION", "FORMS", "Form", "disarmed", "first_sentence"]

CAPTION = "Describe this picture in one short sentence."


@dataclass(frozen=True, slots=True)
class Form:
    """How a model without a chat template is asked about one picture."""

    caption: str
    question: str  # with {question}


FORMS = {
    "blip-2": Form("", "Question: {question} Answer:"),
    "paligemma": Form("caption en\n", "answer en {question}\n"),
}
_END = re.compile(r"(?<=\w{3}[.!?])\s+(?=[^\sa-z])|(?<=[。！？])|\n")  # not after "St." or "e.g."


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, without the space around it and without its full stop; '' if there is none."""
    parts = (part.strip().rstrip(".。").rstrip() for part in _END.split(text))
    return next((part for part in parts if part), "")


def disarmed(text: str, control: Iterable[str]) -> str:
    """Return a text in which no control token of a model stands: each has a space after its first character.

    So a question that quotes `<image>` does not stand for a picture.
    """
    for token in sorted(control, key=len, reverse=True):
        if len(token) > 1 and not token.isspace():
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text

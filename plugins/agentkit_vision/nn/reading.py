"""What a language model reads for a picture: the resampler over its tokens, and over the words of a question where it reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agentkit_vision.nn.resampler import PerceiverResampler
from agentkit_vision.nn.towers import TextTower
from agentkit_vision.nn.words import Words, split

__all__ = ["first_words", "read_latents"]


def read_latents(
    resampler: PerceiverResampler, questions: TextTower | None, words: Words, tokens: Tensor, asked: Sequence[str]
) -> Tensor:
    """Return the latents of pictures, (B, K, width of the language model).

    Args:
        resampler: attends to a picture's tokens and a question's words alike, so any number of either will do.
        questions: what reads questions; None where latents do not depend on them.
        words: that it knows.
        tokens: (B, N, width) of the image tower.
        asked: B questions; of long ones the first words are read.
    """
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool)
    if questions is not None:
        length = questions.config.length
        ids = torch.from_numpy(words.batch([first_words(text, length) for text in asked], length=length))
        said, _ = questions(ids)
        tokens = torch.cat([tokens, said.to(tokens.dtype)], 1)
        mask = torch.cat([mask, ids != 0], 1)
    out: Tensor = resampler(tokens, mask)
    return out.flatten(1, 2)


def first_words(text: str, length: int) -> str:
    """Return at most so many words of a text, from its beginning."""
    found = split(text)
    return text if len(found) <= length else " ".join(found[:length])

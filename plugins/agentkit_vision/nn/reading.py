"""What a language model reads for a picture: the resampler over its tokens, and over the words of a question where it reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agentkit.errors import UsageError
from agentkit_vision.nn.resampler import PerceiverResampler
from agentkit_vision.nn.towers import TextTower
from agentkit_vision.nn.words import Words, split

__all__ = ["Reader", "first_words", "read_latents"]


class Reader(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A question as tokens: one for each word, which is learned, and one for how well each word fits the picture.

    The fit of a word is its vector in the space of pictures and texts, times the picture's, number by number: the sum of these is what
    the word adds to their similarity. Whether a shoe is red can be read off it; from words and picture alone a resampler of this size
    did not learn to compare.
    """

    def __init__(self, questions: TextTower, words: Words, *, texts: TextTower, text_words: Words) -> None:
        """Keep the tower that learns to read questions, and the one that texts were put beside pictures with, which is frozen.

        Raises:
            UsageError: the tokens of one are not as wide as the vectors of the other.
        """
        super().__init__()
        if questions.config.width != texts.config.dim:
            raise UsageError(
                f"reader: questions are {questions.config.width} wide, and vectors of texts {texts.config.dim}"
            )
        self.questions, self.words = questions, words
        self._texts = (texts, text_words)  # in a tuple, so that torch does not own the tower

    def forward(self, asked: Sequence[str], vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, L, width) of B questions, and which of them are there (B, L).

        Args:
            asked: questions; of long ones the first words are read.
            vectors: of the pictures, (B, dim).
        """
        texts, text_words = self._texts
        ids, other = _ids(self.words, asked, self.questions), _ids(text_words, asked, texts)
        said, _ = self.questions(ids)
        with torch.no_grad():
            meant = texts.project(texts(other)[0])
        fits = meant * vectors[:, None] * texts.config.dim**0.5
        return torch.cat((said, fits.to(said.dtype)), 1), torch.cat((ids, other), 1) != 0


def read_latents(
    resampler: PerceiverResampler, reader: Reader | None, tokens: Tensor, vectors: Tensor, asked: Sequence[str]
) -> Tensor:
    """Return the latents of pictures, (B, K, width of the language model).

    Args:
        resampler: attends to a picture's tokens and a question's alike, so any number of either will do.
        reader: of questions; None where latents do not depend on them.
        tokens: (B, N, width) of the image tower.
        vectors: (B, dim), its vectors.
        asked: B questions.
    """
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool)
    if reader is not None:
        said, seen = reader(asked, vectors)
        tokens, mask = torch.cat((tokens, said.to(tokens.dtype)), 1), torch.cat((mask, seen), 1)
    out: Tensor = resampler(tokens, mask)
    return out.flatten(1, 2)


def first_words(text: str, length: int) -> str:
    """Return at most so many words of a text, from its beginning."""
    found = split(text)
    return text if len(found) <= length else " ".join(found[:length])


def _ids(words: Words, asked: Sequence[str], tower: TextTower) -> Tensor:
    length = tower.config.length
    return torch.from_numpy(words.batch([first_words(text, length) for text in asked], length=length))

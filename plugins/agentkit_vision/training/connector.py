"""Second stage: a resampler in front of a frozen language model (Flamingo, arXiv 2204.14198; the question beside the picture as in InstructBLIP, arXiv 2305.06500).

The language model reads the latents where a picture stands in its dialect, then the question, and gives the answer. The loss is that of
the answer and its end. Neither the image tower nor the language model learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentkit_vision.nn.reading import Reader, read_latents
from agentkit_vision.nn.resampler import PerceiverResampler
from agentkit_vision.nn.towers import ImageTower
from agentkit_vision.training.contrast import COLOUR
from agentkit_vision.training.data import Labelled
from agentkit_vision.training.stepping import chance
from agentkit_vision.training.views import views
from agentkit_vision.world.wording import FORMS, Form, asked_about, canonical, question
from agentkit_vision.world.words import roles

__all__ = ["CAPTION", "CAPTION_ASKED", "Asked", "Connector", "Frame", "grounds", "question_corpus"]

CAPTION = "describe the picture"  # what a caption is asked for with
CAPTION_ASKED = (CAPTION, "what does the picture look like", "caption this picture", "say in one line what you see")
GREY = 0.05
SHARES = (0.55, 0.35, 0.1)  # of questions: open, yes or no, choice
STAGE = "connector"
IGNORED = -100


class Asked(NamedTuple):
    """A question about a picture, and what is to be said."""

    question: str
    answer: str


@dataclass(frozen=True)
class Frame:
    """What stands around a question and a picture in the language model's dialect, as tokens.

    Attributes:
        before, between, after: up to the question; from it to the picture; from the picture to the answer.
        answer, end: what begins an answer, and what ends it.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    answer: tuple[int, ...]
    end: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Frame:
        """Return the frame of agentkit's own dialect, `plain/1`."""
        parts = ("<bos><user>", "<image>", "<image_end><end><assistant>", "<final>", "<end>")
        return cls(*(tuple(tokenizer(part, add_special_tokens=False).input_ids) for part in parts))


class Connector(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """What learns: the resampler, and what reads questions, where something does."""

    def __init__(
        self,
        resampler: PerceiverResampler,
        reader: Reader | None,
        *,
        image_tower: ImageTower,
        language_model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        half: bool,
    ) -> None:
        super().__init__()
        self.resampler, self.reader = resampler, reader
        self._half, self._tokenizer = half, tokenizer
        self._frozen: tuple[Any, ...] = (image_tower, language_model)  # in a tuple, so that torch does not own them
        self._frame = Frame.of(tokenizer)

    def latents(self, tokens: Tensor, vectors: Tensor, asked: Sequence[str]) -> Tensor:
        """Return what the language model reads for pictures, (B, K, width); tokens (B, N, width) and vectors (B, dim) are the tower's."""
        return read_latents(self.resampler, self.reader, tokens, vectors, asked)

    def loss_of(self, pixels: Tensor, asked: Sequence[Asked]) -> Tensor:
        """Return the loss of a batch: nats a token of the answers."""
        logits, labels = self.logits(pixels, asked)
        chosen = labels != IGNORED
        return functional.cross_entropy(logits[chosen].float(), labels[chosen])

    def logits(self, pixels: Tensor, asked: Sequence[Asked]) -> tuple[Tensor, Tensor]:
        """Return the language model's logits (B, L, vocabulary), and what is to come after each place (B, L)."""
        image_tower, language_model = self._frozen
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            with torch.no_grad():
                tokens, vectors = image_tower(pixels)
            rows = self.latents(tokens.float(), vectors.float(), [one.question for one in asked])
            ids, labels, places = self._laid_out(asked, rows.shape[1])
            read = language_model.get_input_embeddings()(ids)
            read = read.scatter(1, places[..., None].expand_as(rows), rows.to(read.dtype))
            logits = language_model(inputs_embeds=read, use_cache=False).logits
        return logits[:, :-1], labels[:, 1:]

    def right(self, pixels: Tensor, asked: Sequence[Asked]) -> list[bool]:
        """Return for each question whether every token of the answer is the most probable one."""
        with torch.no_grad():
            logits, labels = self.logits(pixels, asked)
        found: list[bool] = ((logits.argmax(-1) == labels) | (labels == IGNORED)).all(1).tolist()
        return found

    def _laid_out(self, asked: Sequence[Asked], rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return token ids (B, L), what is learnt of them (B, L), and where each picture's rows stand (B, rows)."""
        frame = self._frame
        heads = [[*frame.before, *self._ids(one.question), *frame.between] for one in asked]
        answers = [[*frame.answer, *self._ids(one.answer), *frame.end] for one in asked]
        lines = [[*head, *([0] * rows), *frame.after] for head in heads]
        longest = max(len(line) + len(answer) for line, answer in zip(lines, answers, strict=True))
        ids = torch.zeros(len(asked), longest, dtype=torch.long)
        labels = torch.full_like(ids, IGNORED)
        for n, (line, answer) in enumerate(zip(lines, answers, strict=True)):
            whole = torch.tensor(line + answer)
            ids[n, : len(whole)] = whole
            labels[n, len(line) : len(whole)] = whole[len(line) :]
        places = torch.tensor([len(head) for head in heads])[:, None] + torch.arange(rows)
        return ids, labels, places

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return found


class Lessons:
    """Batches of questions about a data set's pictures."""

    def __init__(self, data: Labelled, connector: Connector, *, batch: int, captions: float, seed: int) -> None:
        self._data, self._connector = data, connector
        self._batch, self._captions, self._seed = batch, captions, seed
        self._colour = [name for name, role in roles(tuple(data.vocabulary)).items() if role == COLOUR]
        self._fades = data.beside(self._colour)

    def loss(self, step: int) -> Tensor:
        """Return the loss of one batch."""
        rng = chance(self._seed, STAGE, step)
        rows = rng.integers(len(self._data), size=self._batch)
        grey = (rng.random(self._batch) < (GREY if self._colour else 0.0)) & self._fades[rows]
        asked = [
            self._asked(int(row), bool(lost), step, n) for n, (row, lost) in enumerate(zip(rows, grey, strict=True))
        ]
        return self._connector.loss_of(views(self._data.pixels[rows], rng, grey=grey), asked)

    def _asked(self, row: int, grey: bool, step: int, place: int) -> Asked:
        rng = Random(f"{self._seed}/{STAGE}/{step}/{place}")
        labels = {
            name: value
            for name, value in self._data.examples[row].labels.items()
            if not (grey and name in self._colour)
        }
        if not grey and rng.random() < self._captions:
            return Asked(rng.choice(CAPTION_ASKED), canonical(labels))
        (form,) = rng.choices(tuple(FORMS), SHARES)
        return one_question(labels, self._data, rng.choice(asked_about(labels)), seed=self._seed, index=rng.getrandbits(40), form=form)  # fmt: skip


def one_question(labels: Any, data: Labelled, attribute: str, *, seed: int, index: int, form: Form = "open", split: Any = "train") -> Asked:  # fmt: skip
    """Return a question about an attribute; an open one where it has no other value that could be asked about."""
    try:
        found = question(labels, data.vocabulary, attribute, form=form, seed=seed, index=index, split=split)
    except IndexError:  # no other value
        found = question(labels, data.vocabulary, attribute, form="open", seed=seed, index=index, split=split)
    return Asked(found.text, found.answer)


def question_corpus(data: Labelled, *, seed: int, count: int = 6_000) -> list[str]:
    """Return questions that hold the words a connector will meet."""
    texts = list(CAPTION_ASKED)
    for n in range(count):
        labels = data.examples[n % len(data)].labels
        for name in asked_about(labels):
            texts += [one_question(labels, data, name, seed=seed, index=n, form=form).question for form in FORMS]
    return texts


def grounds(data: Labelled, *, seed: int, split: Any, form: Form = "open") -> list[tuple[int, str, Asked]]:
    """Return for every picture a question about each attribute: (place, attribute, question)."""
    return [
        (n, name, one_question(one.labels, data, name, seed=seed, index=n, form=form, split=split))
        for n, one in enumerate(data.examples)
        for name in asked_about(one.labels)
    ]


def shuffled(count: int, seed: int) -> list[int]:
    """Return another picture's place for each: a permutation that leaves none where it is."""
    order = np.random.default_rng(seed).permutation(count)
    found = np.empty(count, np.int64)
    found[order] = np.roll(order, 1)
    return [int(place) for place in found]

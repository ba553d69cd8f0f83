"""The student of traces: a small Llama, taught from nothing on questions and replies, and asked with greedy decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from agentkit.errors import Cancelled
from agentkit_synthesis.measure.tokens import ASK_END, END, PAD

__all__ = ["CONTEXT", "Exercise", "answers_of", "student", "taught"]

CONTEXT = 1_024  # tokens
WIDTH, LAYERS, HEADS, HIDDEN = 128, 2, 4, 384  # 0.43 million weights besides the embedding
BATCH = 32
RATE, DECAY, BETAS = 2e-3, 0.01, (0.9, 0.98)
WARM_UP = 0.05  # of the steps
POOL = 8  # batches that are sorted by length together, so that little is padded
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Exercise:
    """A question and the reply that is learnt, as tokens."""

    question: Sequence[int]
    reply: Sequence[int]

    def __len__(self) -> int:
        return len(self.question) + len(self.reply) + 2


def student(vocabulary: int, seed: int) -> LlamaForCausalLM:
    """Return a Llama with random weights; the same seed gives the same."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=HIDDEN, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
        pad_token_id=PAD, bos_token_id=ASK_END, eos_token_id=END,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def taught(
    exercises: Sequence[Exercise],
    *,
    vocabulary: int,
    steps: int,
    seed: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[LlamaForCausalLM, int]:
    """Teach a student on one thread, and return it with the number of tokens that it read, padding aside.

    The loss is that of the reply and its end. AdamW, the rate up over a twentieth of the steps and then down to zero in a line.

    Raises:
        Cancelled: `should_stop` said so; it is asked at every step.
    """
    torch.set_num_threads(1)
    model = student(vocabulary, seed)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, betas=BETAS, weight_decay=DECAY)
    warm = max(1, round(WARM_UP * steps))
    read = 0
    for step, batch in zip(range(steps), _batches(exercises, seed), strict=False):
        if should_stop():
            raise Cancelled(f"stopped after {step} of {steps} steps; this student is taught anew")
        for group in optimiser.param_groups:
            group["lr"] = RATE * min((step + 1) / warm, (steps - step) / max(1, steps - warm))
        inputs, labels = _padded(batch)
        loss = model(input_ids=inputs, labels=labels, use_cache=False).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        read += sum(map(len, batch))
    return model, read


def _batches(exercises: Sequence[Exercise], seed: int) -> Iterator[list[Exercise]]:
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(exercises)).tolist()
        order += (
            order[: (-len(order)) % BATCH] if len(order) >= BATCH else rng.choice(order, BATCH - len(order)).tolist()
        )
        for start in range(0, len(order), POOL * BATCH):
            pool = sorted(order[start : start + POOL * BATCH], key=lambda place: len(exercises[place]))
            batches: list[NDArray[np.int64]] = [np.array(pool[n : n + BATCH]) for n in range(0, len(pool), BATCH)]
            for place in rng.permutation(len(batches)).tolist():
                yield [exercises[one] for one in batches[place].tolist()]


def _padded(batch: Sequence[Exercise]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, batch))
    inputs = torch.full((len(batch), longest), PAD)
    labels = torch.full((len(batch), longest), IGNORED)
    for row, one in enumerate(batch):
        told = torch.tensor([*one.question, ASK_END, *one.reply, END])
        inputs[row, : len(told)] = told
        labels[row, len(one.question) + 1 : len(told)] = told[len(one.question) + 1 :]
    return inputs, labels


def answers_of(
    model: LlamaForCausalLM,
    questions: Sequence[Sequence[int]],
    *,
    most: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[list[int]]:
    """Return the most probable reply to each question, token by token, up to `most` tokens or its end.

    Questions of one length are asked together, so that nothing is padded and no reply depends on another.

    Raises:
        Cancelled: `should_stop` said so; it is asked between lengths.
    """
    model.eval()
    by_length: dict[int, list[int]] = {}
    for place, question in enumerate(questions):
        by_length.setdefault(len(question), []).append(place)
    replies: list[list[int]] = [[] for _ in questions]
    for places in by_length.values():
        if should_stop():
            raise Cancelled("stopped while a student was asked; it is taught anew")
        asked = torch.tensor([[*questions[place], ASK_END] for place in places])
        with torch.no_grad():
            said = _greedy(model, asked, min(most, CONTEXT - asked.shape[1]))
        for place, reply in zip(places, said, strict=True):
            replies[place] = reply
    return replies


def _greedy(model: LlamaForCausalLM, asked: Tensor, most: int) -> list[list[int]]:
    said = torch.empty((len(asked), 0), dtype=torch.long)
    ended = torch.zeros(len(asked), dtype=torch.bool)
    past, current = None, asked
    for _ in range(most):
        out = model(input_ids=current, past_key_values=past, use_cache=True)
        past = out.past_key_values
        following = out.logits[:, -1].argmax(-1)
        said = torch.cat([said, following[:, None]], 1)
        ended |= following == END
        if bool(ended.all()):
            break
        current = following[:, None]
    return [row[: row.index(END)] if END in row else row for row in said.tolist()]

"""A language so small that nothing about a policy has to be sampled: prompts of a word, answers of two.

Guarantees: expectations and divergences are sums over all that can be said, in float64; the same seed gives the same world. An
answer is any two words, after which nobody listens; two tokens that are not both words are worth as much as the worst answer.
The true reward has a mean of 0 and a standard deviation of 1 under the reference, so gains are in its standard deviations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PROMPTS, WORDS = 6, 10
PAD, END, FIRST_PROMPT, FIRST_WORD = 0, 1, 2, 2 + PROMPTS
VOCABULARY = ("<pad>", "<end>", *(f"x{n}" for n in range(PROMPTS)), *(f"w{n}" for n in range(WORDS)))
SIZE = len(VOCABULARY)
ANSWERS = slice(FIRST_WORD, FIRST_WORD + WORDS)
LEARNING_STEPS = 200  # of the reference
PARTS = (  # of an answer's worth: each word's, each word's to the prompt, and that of both together
    ((1, WORDS, 1), 1.0),
    ((1, 1, WORDS), 1.0),
    ((PROMPTS, WORDS, 1), 0.5),
    ((PROMPTS, 1, WORDS), 0.5),
    ((PROMPTS, WORDS, WORDS), 0.5),
)


@dataclass(frozen=True)
class Said:
    """What a model says to each prompt: log-probabilities of the first and the second token, float64."""

    first: np.ndarray  # [prompt, token]
    second: np.ndarray  # [prompt, token, token]

    @property
    def both(self) -> np.ndarray:
        """The log-probabilities of two tokens: [prompt, token, token]."""
        return np.asarray(self.first[..., None] + self.second)

    @property
    def answers(self) -> np.ndarray:
        """The log-probabilities of the answers: [prompt, word, word]."""
        return self.both[:, ANSWERS, ANSWERS]

    def divergence(self, reference: Said) -> float:
        """Return KL(self || reference) of two tokens, in nats, over the prompts' mean."""
        return float((np.exp(self.both) * (self.both - reference.both)).sum() / PROMPTS)


@dataclass(frozen=True)
class Pairs:
    """Answers of which one is preferred: prompt, and the words of both; [pair]."""

    prompt: np.ndarray
    chosen: tuple[np.ndarray, np.ndarray]
    rejected: tuple[np.ndarray, np.ndarray]

    def of(self, table: np.ndarray, which: str) -> np.ndarray:
        """Return the entries of a [prompt, word, word] table for the `chosen` or the `rejected`."""
        return np.asarray(table[(self.prompt, *getattr(self, which))])

    def right(self, table: np.ndarray) -> int:
        """Return how many pairs a table of rewards puts in their order."""
        return int((self.of(table, "chosen") > self.of(table, "rejected")).sum())

    def rows(self) -> list[dict[str, str]]:
        """Return the pairs as texts."""
        return [
            {
                "prompt": _turn("user", f"x{x}"),
                "chosen": _turn("assistant", f"w{a} w{b}"),
                "rejected": _turn("assistant", f"w{c} w{d}"),
            }
            for x, a, b, c, d in zip(self.prompt, *self.chosen, *self.rejected, strict=True)
        ]


@dataclass(frozen=True)
class World:
    """A reference model, and what answers are really worth: [prompt, word, word]."""

    seed: int
    reference: Any
    said: Said
    reward: np.ndarray

    @classmethod
    def make(cls, seed: int) -> World:
        """Return the world of a seed: its reference learns a language of its own."""
        rng = np.random.default_rng(seed)
        reference = _learnt(seed, rng)
        said = listen(reference)
        reward = sum(weight * rng.normal(size=shape) for shape, weight in PARTS)
        weights = _normal(said.answers)
        reward -= (weights * reward).sum((1, 2), keepdims=True)
        reward /= np.sqrt((weights * reward**2).sum() / PROMPTS)
        return cls(seed, reference, said, reward)

    def worth(self, said: Said) -> float:
        """Return the true reward expected of a model."""
        return expected(said, self.reward)

    def worth_given(self, said: Said) -> float:
        """Return the true reward expected of those answers of a model that are some, over the prompts' mean."""
        return float((_normal(said.answers) * self.reward).sum() / PROMPTS)

    def best(self, beta: float) -> tuple[float, float]:
        """Return the divergence and the true reward of pi_ref exp(r / beta) / Z, the best there is at that divergence."""
        tilted = _normal(self.said.answers + self.reward / beta)
        ratio = np.log(np.maximum(tilted, 1e-300)) - self.said.answers
        return float((tilted * ratio).sum() / PROMPTS), float((tilted * self.reward).sum() / PROMPTS)

    def pairs(self, count: int, rng: np.random.Generator, *, noise: str = "bradley-terry") -> Pairs:
        """Return pairs of different answers of the reference.

        Args:
            count: how many.
            rng: chance.
            noise: `bradley-terry` prefers with sigma(r - r'), `none` the better one, `coin` either.
        """
        weights = _normal(self.said.answers).reshape(PROMPTS, -1)
        prompts = rng.integers(PROMPTS, size=count)
        both = np.array([rng.choice(weights.shape[1], size=2, replace=False, p=weights[one]) for one in prompts])
        worth = self.reward.reshape(PROMPTS, -1)[prompts[:, None], both]
        gap = worth[:, 0] - worth[:, 1]
        chance = {"bradley-terry": 1 / (1 + np.exp(-gap)), "none": gap > 0, "coin": np.full(count, 0.5)}[noise]
        first = (rng.random(count) < chance).astype(int)
        chosen, rejected = (both[np.arange(count), one] for one in (1 - first, first))
        return Pairs(prompts, np.divmod(chosen, WORDS), np.divmod(rejected, WORDS))


def expected(said: Said, reward: np.ndarray) -> float:
    """Return the reward expected of a model, over the prompts' mean; what is no answer is worth the prompt's worst."""
    chance = np.exp(said.answers)
    rest = 1 - chance.sum((1, 2))
    return float(((chance * reward).sum((1, 2)) + rest * reward.min((1, 2))).mean())


def listen(model: Any) -> Said:
    """Return all that a model says to each prompt, by one forward pass over every first token."""
    x, a = np.meshgrid(np.arange(FIRST_PROMPT, FIRST_WORD), np.arange(SIZE), indexing="ij")
    tokens = torch.from_numpy(np.stack([x, a], -1).reshape(-1, 2))
    was_training = model.training
    model.eval()
    with torch.no_grad():
        told = model(tokens).logits.double().log_softmax(-1).numpy().reshape(PROMPTS, SIZE, 2, SIZE)
    model.train(was_training)
    return Said(told[:, 0, 0], told[:, :, 1])


def scores(model: Any) -> np.ndarray:
    """Return a reward model's scores of all answers: [prompt, word, word]."""
    model.eval()
    with torch.no_grad():
        return np.asarray(model(_texts()).logits.double().numpy().reshape(PROMPTS, WORDS, WORDS))


def standardised(reward: np.ndarray, said: Said) -> np.ndarray:
    """Return a reward with each prompt's mean 0, and a standard deviation of 1, under a model's answers."""
    weights = _normal(said.answers)
    reward = reward - (weights * reward).sum((1, 2), keepdims=True)
    return np.asarray(reward / np.sqrt((weights * reward**2).sum() / PROMPTS))


def config() -> LlamaConfig:
    """Return a Llama of 60,000 parameters."""
    return LlamaConfig(
        vocab_size=SIZE, hidden_size=48, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=16, bos_token_id=None, eos_token_id=END, pad_token_id=PAD,
    )  # fmt: skip


def tokenizer() -> Any:
    """Return the tokenizer of the words, with a chat that is nothing but what is said."""
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(VOCABULARY)}))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    chat = (
        "{% for message in messages %}{{ message.content }} {% endfor %}"  # ends nothing, so TRL trains on two tokens
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="<pad>", chat_template=chat)


def _learnt(seed: int, rng: np.random.Generator) -> Any:
    """Return a model that learnt to answer, with words of uneven frequency: the loss is expected over all texts."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config())
    chance = _normal(rng.normal(size=(PROMPTS, WORDS, 1)) * 0.5 + rng.normal(size=(PROMPTS, WORDS, WORDS)) * 0.5)
    second = torch.from_numpy(chance).float() / PROMPTS
    first = second.sum(2)
    beginnings = _texts()[:, :2].reshape(PROMPTS, WORDS, WORDS, 2)[:, :, 0].reshape(-1, 2)  # prompt and word
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, LEARNING_STEPS)
    for _ in range(LEARNING_STEPS):
        told = model(beginnings).logits.log_softmax(-1)[..., ANSWERS].reshape(PROMPTS, WORDS, 2, WORDS)
        optimiser.zero_grad()
        (-(first * told[:, 0, 0]).sum() - (second * told[:, :, 1]).sum()).backward()
        optimiser.step()
        schedule.step()
    return model


def _texts() -> Any:
    """Return the tokens of all answers to all prompts: [prompt x word x word, 3]."""
    x, a, b = np.meshgrid(*(np.arange(n) for n in (PROMPTS, WORDS, WORDS)), indexing="ij")
    return torch.from_numpy(np.stack([x + FIRST_PROMPT, a + FIRST_WORD, b + FIRST_WORD], -1).reshape(-1, 3))


def _turn(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def _normal(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over each prompt's answers."""
    weights = np.exp(logits - logits.max((1, 2), keepdims=True))
    return np.asarray(weights / weights.sum((1, 2), keepdims=True))

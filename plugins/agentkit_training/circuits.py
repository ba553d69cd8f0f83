"""Start a Llama with the circuits of reading already laid out.

Choosing a tool by reading and copying an argument both need heads that feed one another; from
random weights they do not form within tens of millions of tokens at this size. Here the weights
start as a rough version of them and training does the rest (the idea of mimetic initialisation,
Trockman and Kolter, arXiv 2305.09828, taken further):

- layer 0: each token learns its segment (the latest control token), the token before it and the
  one before that;
- layer 1: each word looks for itself in the signatures and fetches their tag, and an induction
  head finds what followed the same two tokens earlier;
- layer 2: the position that chooses a tool collects the tags which the request's words fetched;
- last layer: each position takes its own identity out, since the output embedding is tied.

Guarantees: nothing is frozen; every weight set here is an ordinary weight. Needs four heads of 64
and four layers or more. Does not know any word: only the control tokens of `plain/1`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from agentkit_training.llama import Attention, Llama

__all__ = ["lay_circuits"]

CONTROLS = 80
USER, CALL = 5, 9
TAGS = slice(32, 64)

IDENTITY = slice(0, 64)
TAG_IDENTITY = slice(0, 32)
SEGMENT = slice(64, 96)
VOTE = slice(100, 132)
BEFORE = slice(132, 172)
BEFORE_THAT = slice(172, 212)
SEGMENT_IS_TOOL, SEGMENT_IS_USER = 96, 97
CONSTANT, IS_CONTROL, IS_TAG, IS_USER, IS_CALL = 212, 213, 214, 215, 216
IS_DULL = 217

KEPT = 40
"""Numbers of an identity that a matching head compares: those of a head that do not turn."""


def lay_circuits(model: Llama, *, dull: Sequence[int] = (), seed: int = 7, noise: float = 0.003) -> None:
    """Overwrite part of a fresh `model` with the circuits of reading.

    Args:
        model: fresh; four ungrouped heads of 64 and at least four layers.
        dull: tokens that tell nothing of what is wanted (spaces, punctuation): they get no vote.
        seed: for the random identities.
        noise: standard deviation of what stands around the circuits in their heads.

    Raises:
        ValueError: the model has another shape.
    """
    config = model.config
    if (config.head_width, config.heads, config.kv_heads) != (64, 4, 4) or config.layers < 4:
        raise ValueError("circuits need four heads of 64, ungrouped, and at least four layers")
    chance = torch.Generator().manual_seed(seed)
    squeeze = torch.linalg.qr(torch.randn(64, KEPT, generator=chance))[0].T
    turn = torch.linalg.qr(torch.randn(KEPT, KEPT, generator=chance))[0]
    layers = [block.get_submodule("attention") for block in model.blocks]
    first, second, third, last = layers[0], layers[1], layers[2], layers[-1]
    with torch.no_grad():
        _embeddings(model.embedding.weight, dull, chance)
        for layer, head in (
            (first, 0),
            (first, 1),
            (first, 2),
            (second, 0),
            (second, 1),
            (third, 0),
            (last, 3),
        ):
            _clear(layer, head, noise, chance)
        _segment_head(first)
        _offset_head(first, 1, 1, model, squeeze, BEFORE)
        _offset_head(first, 2, 2, model, squeeze, BEFORE_THAT)
        _match_head(second, squeeze)
        _induction_head(second, squeeze, turn)
        _vote_head(third)
        _forget_head(last, model)


def _embeddings(weight: Tensor, dull: Sequence[int], chance: torch.Generator) -> None:
    """Words: a random identity and a constant; control tokens: flags besides."""
    weight.mul_(0.3)
    weight[:, SEGMENT.start : IS_DULL + 1] = 0
    words = torch.randn(weight.shape[0], 64, generator=chance)
    weight[:, IDENTITY] = 0.8 * words / words.norm(dim=1, keepdim=True)
    weight[:CONTROLS, TAG_IDENTITY] = 0
    weight[TAGS, IDENTITY] = 0
    weight[TAGS, TAG_IDENTITY] = 0.8 * torch.eye(32)
    weight[:, CONSTANT] = 0.4
    weight[:CONTROLS, IS_CONTROL] = 0.4
    weight[TAGS, IS_TAG] = 0.4
    weight[USER, IS_USER] = 0.4
    weight[CALL, IS_CALL] = 0.4
    weight[list(dull), IS_DULL] = 0.4
    control = weight[:CONTROLS]  # of one length, or a louder one would pass for a nearer one
    control[:, IDENTITY] = functional.normalize(control[:, IDENTITY], dim=1)
    control[:, IS_DULL + 1 :] = 0
    others = control[:, IDENTITY.stop :].square().sum(1, keepdim=True)
    control[:, IDENTITY] *= (1.2 - others).sqrt()


def _clear(layer: torch.nn.Module, head: int, noise: float, chance: torch.Generator) -> None:
    rows = slice(64 * head, 64 * head + 64)
    assert isinstance(layer, Attention)
    for weight in (layer.q.weight, layer.k.weight, layer.v.weight):
        weight[rows] = noise * torch.randn(64, weight.shape[1], generator=chance)
    out = layer.o.weight
    out[:, rows] = noise * torch.randn(out.shape[0], 64, generator=chance)


def _still(model_head: int) -> Tensor:
    """Rows of a head that do not turn with position."""
    base = 64 * model_head
    return base + torch.cat((torch.arange(12, 32), torch.arange(44, 64)))


def _look_back(
    layer: Attention,
    head: int,
    phases: Tensor,
    pairs: slice,
    *,
    asks: tuple[int, float],
    answers: tuple[int, float],
) -> None:
    """Score a key by cos(turn * distance + phase), summed over some turning pairs."""
    left = 64 * head + torch.arange(12)[pairs]
    layer.q.weight[left, asks[0]] += asks[1] * phases.cos()
    layer.q.weight[left + 32, asks[0]] += asks[1] * phases.sin()
    layer.k.weight[left, answers[0]] += answers[1]


def _peak_at(model: Llama, offset: int, pairs: slice) -> Tensor:
    """Phases that make the score highest at one distance."""
    turns = model.config.rope_base ** (-torch.arange(12)[pairs] / 32)
    return -offset * turns


def _fall_off(pairs: slice) -> Tensor:
    """Phases that make the score fall with distance, evenly from the start."""
    return torch.full((12,), torch.pi / 4)[pairs]


def _move(
    layer: Attention,
    head: int,
    source: slice,
    target: slice,
    gain: float,
    through: Tensor | None = None,
) -> None:
    """Make what a head fetches the `source` numbers, written to `target`."""
    matrix = torch.eye(source.stop - source.start) if through is None else through
    rows = slice(64 * head, 64 * head + matrix.shape[0])
    layer.v.weight[rows, source] += gain**0.5 * matrix
    layer.o.weight[target, rows] += gain**0.5 * torch.eye(matrix.shape[0])


def _segment_head(layer: torch.nn.Module) -> None:
    assert isinstance(layer, Attention)
    pairs = slice(6, 10)
    _look_back(layer, 0, _fall_off(pairs), pairs, asks=(CONSTANT, 3.4), answers=(IS_CONTROL, 3.4))
    row = _still(0)[0]
    layer.q.weight[row, CONSTANT] += 4.4
    layer.k.weight[row, IS_CONTROL] += 4.4
    _move(layer, 0, TAG_IDENTITY, SEGMENT, 0.05)
    for place, flag, target in ((32, IS_TAG, SEGMENT_IS_TOOL), (33, IS_USER, SEGMENT_IS_USER)):
        layer.v.weight[place, flag] += 0.3
        layer.o.weight[target, place] += 0.3


def _offset_head(layer: torch.nn.Module, head: int, offset: int, model: Llama, squeeze: Tensor, target: slice) -> None:
    assert isinstance(layer, Attention)
    pairs = slice(0, 8)
    _look_back(
        layer,
        head,
        _peak_at(model, offset, pairs),
        pairs,
        asks=(CONSTANT, 4.0),
        answers=(CONSTANT, 4.0),
    )
    _move(layer, head, IDENTITY, target, 0.05, squeeze)


def _match_head(layer: torch.nn.Module, squeeze: Tensor) -> None:
    assert isinstance(layer, Attention)
    rows = _still(0)
    layer.q.weight[rows[:39], IDENTITY] += 3.0 * squeeze[:39]
    layer.k.weight[rows[:39], IDENTITY] += 3.0 * squeeze[:39]
    layer.q.weight[rows[39], CONSTANT] += 2.5
    layer.k.weight[rows[39], SEGMENT_IS_TOOL] += 2.5
    _move(layer, 0, SEGMENT, VOTE, 0.15)


def _induction_head(layer: torch.nn.Module, squeeze: Tensor, turn: Tensor) -> None:
    assert isinstance(layer, Attention)
    rows = _still(1)
    layer.q.weight[rows, IDENTITY] += 1.5 * squeeze
    layer.k.weight[rows, BEFORE] += 1.5 * torch.eye(KEPT)
    layer.q.weight[rows, BEFORE] += 1.5 * turn
    layer.k.weight[rows, BEFORE_THAT] += 1.5 * turn
    _move(layer, 1, IDENTITY, IDENTITY, 0.1)


def _vote_head(layer: torch.nn.Module) -> None:
    assert isinstance(layer, Attention)
    pairs = slice(7, 11)
    _look_back(layer, 0, _fall_off(pairs), pairs, asks=(IS_CALL, 2.0), answers=(SEGMENT_IS_USER, 2.0))
    row = _still(0)[0]
    layer.q.weight[row, IS_CALL] += 3.0
    layer.k.weight[row, SEGMENT_IS_USER] += 3.0
    layer.k.weight[row, IS_DULL] -= 2.0
    _move(layer, 0, VOTE, TAG_IDENTITY, 0.3)


def _forget_head(layer: torch.nn.Module, model: Llama) -> None:
    assert isinstance(layer, Attention)
    pairs = slice(0, 8)
    _look_back(layer, 3, _peak_at(model, 0, pairs), pairs, asks=(CONSTANT, 4.0), answers=(CONSTANT, 4.0))
    layer.v.weight[192:256, IDENTITY] += 0.3 * torch.eye(64)
    layer.o.weight[IDENTITY, 192:256] -= 0.3 * torch.eye(64)

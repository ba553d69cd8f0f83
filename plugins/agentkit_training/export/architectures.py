"""Which models can be exported: what llama.cpp calls them, and every tensor they must have.

Guarantees: names are those of gguf's own map; a model that is not known, or has a part that llama.cpp would leave out, is an error
and never a file that says something else than the model. Does not cover mixtures of experts, nor models that see or hear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gguf

from agentkit.errors import ModelFileError

__all__ = ["ARCHITECTURES", "Architecture", "Shape", "Wanted", "architecture_of", "shape_of", "wanted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What llama.cpp makes of a class of models.

    Attributes:
        kind: gguf's name of it.
        pairs: it turns neighbouring rows of queries and keys, where transformers turns row i with row i + half.
        factors: it divides angles by `rope_freqs.weight`.
        head_norms: queries and keys are normalised, head by head.
        biases: the projections that always have one.
        may_bias: settings of config.json -> the projections that they give one.
    """

    kind: gguf.MODEL_ARCH
    pairs: bool = False
    factors: bool = False
    head_norms: bool = False
    biases: tuple[str, ...] = ()
    may_bias: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The value of `general.architecture`."""
        return str(gguf.MODEL_ARCH_NAMES[self.kind])


ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED = ("gate_proj", "up_proj", "down_proj")
ARCHITECTURES = {
    "LlamaForCausalLM": Architecture(
        kind=gguf.MODEL_ARCH.LLAMA,
        pairs=True,
        factors=True,
        may_bias={"attention_bias": ATTENTION, "mlp_bias": FEED},
    ),
    "MistralForCausalLM": Architecture(kind=gguf.MODEL_ARCH.LLAMA, pairs=True, factors=True),
    "Qwen2ForCausalLM": Architecture(kind=gguf.MODEL_ARCH.QWEN2, biases=ATTENTION[:3]),
    "Qwen3ForCausalLM": Architecture(kind=gguf.MODEL_ARCH.QWEN3, head_norms=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a model."""

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    vocab: int
    context: int  # tokens
    norm_eps: float
    tied: bool
    biases: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A tensor that a model must have.

    Attributes:
        name: transformers' name.
        target: llama.cpp's name.
        shape: rows and columns.
        heads: how many heads its rows are, where they are to be reordered; else 0.
    """

    name: str
    target: str
    shape: tuple[int, ...]
    heads: int = 0


def architecture_of(name: str, where: object) -> Architecture:
    """Return what llama.cpp makes of a class of transformers.

    Raises:
        ModelFileError: it is not one of `ARCHITECTURES`.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelFileError(
            f"{where}: '{name}' cannot be exported, only {known}; get a GGUF that its makers published"
        )
    return ARCHITECTURES[name]


def shape_of(config: Any, architecture: Architecture, where: object) -> Shape:
    """Return the sizes that a configuration of transformers states.

    Where only a window of the text is attended to, the context ends with it: llama.cpp attends to everything, and within the
    window that is the same.

    Raises:
        ModelFileError: it has a part that llama.cpp does not compute.
    """
    if config.hidden_act != "silu":
        raise ModelFileError(
            f"{where}: hidden_act '{config.hidden_act}' is not silu, and llama.cpp computes no other here"
        )
    if getattr(config, "attention_bias", False) and "attention_bias" not in architecture.may_bias:
        raise ModelFileError(
            f"{where}: attention_bias is on, and llama.cpp's {architecture.name} has none; train without"
        )
    given = [of for setting, of in architecture.may_bias.items() if getattr(config, setting, False)]
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    heads = config.num_attention_heads
    return Shape(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        hidden=config.intermediate_size,
        heads=heads,
        kv_heads=config.num_key_value_heads,
        head_width=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocab=config.vocab_size,
        context=min(config.max_position_embeddings, window or config.max_position_embeddings),
        norm_eps=config.rms_norm_eps,
        tied=bool(config.tie_word_embeddings),
        biases=frozenset(name for of in (architecture.biases, *given) for name in of),
    )


def wanted(architecture: Architecture, shape: Shape) -> dict[str, Wanted]:
    """Return every tensor that such a model has, by transformers' names, in the order of the file."""
    names = gguf.get_tensor_name_map(architecture.kind, shape.layers)
    found = {}
    for name, sizes, heads in _tensors(architecture, shape):
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ModelFileError(f"gguf has no name for {name} of {architecture.name}; upgrade gguf")
        found[name] = Wanted(name=name, target=target, shape=sizes, heads=heads if architecture.pairs else 0)
    return found


def _tensors(architecture: Architecture, shape: Shape) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Yield names, sizes, and heads where rows turn with position."""
    yield "model.embed_tokens.weight", (shape.vocab, shape.width), 0
    yield "model.norm.weight", (shape.width,), 0
    if not shape.tied:
        yield "lm_head.weight", (shape.vocab, shape.width), 0
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    attention = {
        "q_proj": (queries, shape.width, shape.heads),
        "k_proj": (keys, shape.width, shape.kv_heads),
        "v_proj": (keys, shape.width, 0),
        "o_proj": (shape.width, queries, 0),
    }
    feed = {
        "gate_proj": (shape.hidden, shape.width, 0),
        "up_proj": (shape.hidden, shape.width, 0),
        "down_proj": (shape.width, shape.hidden, 0),
    }
    for layer in range(shape.layers):
        place = f"model.layers.{layer}."
        yield f"{place}input_layernorm.weight", (shape.width,), 0
        yield f"{place}post_attention_layernorm.weight", (shape.width,), 0
        for part, matrices in (("self_attn", attention), ("mlp", feed)):
            for name, (rows, columns, heads) in matrices.items():
                yield f"{place}{part}.{name}.weight", (rows, columns), heads
                if name in shape.biases:
                    yield f"{place}{part}.{name}.bias", (rows,), heads
        if architecture.head_norms:
            yield f"{place}self_attn.q_norm.weight", (shape.head_width,), 0
            yield f"{place}self_attn.k_norm.weight", (shape.head_width,), 0

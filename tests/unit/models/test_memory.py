"""The arithmetic of the estimate; `tests/benchmarks/test_memory.py` holds it against llama.cpp."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from agentkit.models.gguf import GGUFInfo
from agentkit.models.header import Tensor
from agentkit.models.memory import default_context, estimate, largest_context, padded, rows

KEYS = {"block_count": 4, "embedding_length": 64, "feed_forward_length": 128, "attention.head_count": 4}


def model(
    architecture: str = "llama", *, tensors: tuple[Tensor, ...] = (), context: int = 4096, **keys: Any
) -> GGUFInfo:
    """A header's account of a model; `__` in a key is a dot."""
    named = {**KEYS, **{name.replace("__", "."): value for name, value in keys.items()}}
    return GGUFInfo(
        path=Path("m.gguf"), files=(Path("m.gguf"),), version=3, architecture=architecture, name="m",
        context_length=context, parameters=1, quantisation="Q4_0", dialect="", has_chat_template=False,
        weight_bytes=sum(tensor.size for tensor in tensors), vocabulary=1000, tensors=tensors,
        metadata=MappingProxyType({f"{architecture}.{name}": value for name, value in named.items()}),
    )  # fmt: skip


CACHES: dict[str, tuple[GGUFInfo, int]] = {  # bytes a token of an F16 cache
    "every head": (model(), 4 * 4 * (16 + 16) * 2),
    "shared heads": (model(attention__head_count_kv=2), 4 * 2 * (16 + 16) * 2),
    "one number a layer": (model(attention__head_count_kv=(1, 3, 0, 2)), 6 * (16 + 16) * 2),
    "lengths of their own": (model(attention__key_length=24, attention__value_length=8), 4 * 4 * (24 + 8) * 2),
    "a window": (model("gemma3", attention__sliding_window=512), 4 * 4 * (16 + 16) * 2),
    "a window with shorter heads": (
        model("gemma4", attention__key_length=32, attention__value_length=32, attention__key_length_swa=16,
              attention__value_length_swa=16, attention__sliding_window_pattern=(True, True, False, True)),
        4 * (3 * (16 + 16) + (32 + 32)) * 2,
    ),
    "layers that share": (model("gemma4", attention__shared_kv_layers=3), 1 * 4 * (16 + 16) * 2),
    "values inside the keys": (
        model("deepseek2", attention__head_count_kv=1, attention__key_length=72, attention__value_length=64,
              attention__key_length_mla=24, attention__value_length_mla=16),
        4 * 1 * 72 * 2,
    ),
    "a layer that only guesses ahead": (model("glm4moe", nextn_predict_layers=1), 3 * 4 * (16 + 16) * 2),
    "every fourth layer": (
        model("qwen35", full_attention_interval=4, ssm__conv_kernel=4, ssm__inner_size=64, ssm__state_size=8),
        1 * 4 * (16 + 16) * 2,
    ),
    "layers that are named": (
        model("qwen35", attention__recurrent_layers=(1, 0, 1, 0), ssm__inner_size=64, ssm__state_size=8),
        2 * 4 * (16 + 16) * 2,
    ),
    "no attention": (model("mamba", attention__head_count=0, ssm__inner_size=64, ssm__state_size=8), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CACHES)
def test_the_cache_grows_by_so_much_a_token(name: str) -> None:
    info, per_token = CACHES[name]
    small, large = (estimate(info, tokens).kv for tokens in (1024, 3072))
    assert large - small == 2048 * per_token


def test_the_cache_comes_in_steps_and_types() -> None:
    info = model()
    assert padded(1) == padded(256) == 256
    assert estimate(info, 1).kv == estimate(info, 256).kv == estimate(info, 257).kv // 2
    half, whole, quarter = (estimate(info, 1024, kv_type=kind).kv for kind in ("F16", "F32", "Q8_0"))
    assert (whole, quarter) == (2 * half, half * 34 // 64)
    assert estimate(info, 1024, exact=True).kv == whole


def test_an_exact_cache_has_room_for_the_widest_values_in_each_layer() -> None:
    info = model("deci", attention__head_count_kv=(1, 3, 0, 2))
    assert estimate(info, 1024, exact=True).kv == 1024 * 4 * (6 * 16 + 4 * 3 * 16)


STATES: dict[str, tuple[GGUFInfo, int]] = {  # values a sequence
    "mamba": (
        model("mamba", attention__head_count=0, ssm__conv_kernel=4, ssm__inner_size=64, ssm__state_size=8,
              ssm__group_count=2),
        4 * (3 * (64 + 2 * 2 * 8) + 8 * 64),
    ),
    "rwkv": (model("rwkv7", attention__head_count=0, wkv__head_size=32), 4 * (2 * 64 + 64 * 32)),
    "short convolutions": (model("lfm2", attention__head_count_kv=(0, 2, 0, 0), shortconv__l_cache=3), 3 * 64 * 2),
    "delta attention": (
        model("kimi-linear", attention__head_count_kv=(0, 1, 0, 0), kda__head_dim=8, ssm__conv_kernel=4),
        3 * 4 * 8 * (3 * 3 + 8),
    ),
    "both in each layer": (model("falcon-h1", ssm__inner_size=64, ssm__state_size=8), 4 * 8 * 64),
    "a feed-forward alone": (
        model("nemotron_h", attention__head_count_kv=(0, 1, 0, 0), feed_forward_length=(0, 0, 128, 0),
              ssm__inner_size=64, ssm__state_size=8),
        2 * 8 * 64,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_the_states_grow_by_so_much_a_sequence(name: str) -> None:
    info, values = STATES[name]
    few, many = (estimate(info, 1024, live=live).kv for live in (4, 14))
    assert many - few == 10 * values * 4


def test_what_is_copied_is_what_is_multiplied() -> None:
    def tensor(name: str, kind: str, size: int) -> Tensor:
        return Tensor(name=name, kind=kind, shape=(32, size // 18), values=size, size=size)

    both = tensor("token_embd.weight", "Q4_0", 1800), tensor("blk.0.ffn_up.weight", "Q4_0", 180)
    norm, output = tensor("output_norm.weight", "F32", 36), tensor("output.weight", "Q6_K", 360)
    tied, untied = model(tensors=(*both, norm)), model(tensors=(*both, norm, output))
    assert estimate(tied).copied == 0
    assert estimate(tied, copied={"Q4_0"}).copied == 1980  # the embeddings are the output matrix too
    assert estimate(untied, copied={"Q4_0"}).copied == 180
    assert estimate(untied, copied={"Q4_0", "Q6_K"}).copied == 540
    found = estimate(untied, copied={"Q4_0"})
    assert found.weights == 1800 + 180 + 36 + 360
    assert found.total == found.weights + found.kv + found.buffers
    assert found.needed == 180 + found.kv + found.buffers


def test_the_largest_context_is_the_last_that_fits() -> None:
    info = model(context=100_000)
    room = estimate(info, 20_000).total
    fitting = largest_context(info, room)
    assert fitting == padded(20_000)
    assert estimate(info, fitting).total <= room < estimate(info, fitting + 256).total
    assert largest_context(info, estimate(info, 256).total - 1) == 0
    assert largest_context(info, 1 << 60) == 100_000
    assert largest_context(info, room, exact=True) < fitting


def test_buffers_grow_with_what_a_batch_needs() -> None:
    plain = estimate(model(), 4096).buffers
    assert estimate(model(feed_forward_length=4096), 4096).buffers > plain
    assert estimate(model(expert_used_count=8, expert_feed_forward_length=512), 4096).buffers > plain
    assert estimate(model(), 8192).buffers > plain
    assert estimate(model(), 4096, batch=64).buffers < plain
    assert estimate(model(), 4096, exact=True).buffers > plain + 4 * 4096 * 512 * 4


def test_a_context_is_what_was_trained_for_and_at_most_8192() -> None:
    assert default_context(model(context=2048)) == 2048
    assert default_context(model(context=131_072)) == 8192
    assert estimate(model(context=2048)) == estimate(model(), 2048)
    assert rows(1000, 512, 16) == 64
    assert rows(256_000, 512, 16) == 16
    assert rows(1000, 8, 4) == 8


@pytest.mark.parametrize(
    "keys",
    [
        {"block_count": 2**63, "attention__head_count": 2**40},
        {"attention__head_count": ("x", None, -3)},
        {"attention__head_count_kv": (1,) * 3, "attention__sliding_window_pattern": ()},
        {"embedding_length": "wide", "feed_forward_length": 1.5},
        {"nextn_predict_layers": 9},
    ],
)
def test_numbers_that_make_no_sense_end_in_a_number(keys: dict[str, Any]) -> None:
    assert estimate(model(**keys), 256).total >= 0

"""How much memory a model takes, told from its file's header before anything is loaded, and whether that is there.

What is taken, as llama.cpp 0.3.36 takes it for the context that the engine makes (`ContextOptions`):

- weights: the bytes of all tensors. The file is mapped, so the system may drop parts of it and read them again.
  `copied` says how much is not mapped but copied out of it: everything where a GPU has memory of its own; on a CPU
  the matrices of the types that llama.cpp lays out anew for it.
- the cache: for each layer with attention, cells x KV heads x (key length + value length) in the type of the cache.
  Cells come in steps of 256. Layers with a sliding window take as many cells as others, since the engine leaves
  `swa_full` on: a sequence could not be cut otherwise. Recurrent layers take an F32 state for each sequence that is
  read into.
- buffers: the numbers between the layers for one batch, and the rows of logits.

The embedding context, which is made when first asked for, is not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.models.formats import TENSOR_TYPES
from agentkit.models.gguf import MAX_LAYERS, GGUFInfo

DEFAULT_CONTEXT = 8192  # tokens, where nobody asks for more or fewer
BATCH, LIVE = 512, 16  # tokens of a batch, and sequences that can be read into
ALL_TYPES = frozenset(name for name, _, _ in TENSOR_TYPES.values())
_ROWS_BYTES = 16 << 20  # of logits in one batch, as in the engine's context
_CELLS = 256  # llama.cpp's step
_FLOAT = 4
_SIZES = {name: (values, size) for name, values, size in TENSOR_TYPES.values()}
_LOOKED_UP = frozenset(("token_embd.weight", "per_layer_token_embd.weight", "position_embd.weight"))  # never multiplied


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """What a model takes with one context, in bytes."""

    weights: int
    kv: int  # the cache, and the states of recurrent layers
    buffers: int
    copied: int = 0  # of the weights: in memory of their own, and not mapped

    @property
    def total(self) -> int:
        """What it takes to run at full speed."""
        return self.weights + self.kv + self.buffers

    @property
    def needed(self) -> int:
        """What must be there: the total without the weights that stay in the file and can be read again."""
        return self.copied + self.kv + self.buffers


def estimate(
    info: GGUFInfo,
    context: int | None = None,
    *,
    kv_type: str = "F16",
    live: int = LIVE,
    batch: int = BATCH,
    exact: bool = False,
    copied: Collection[str] = frozenset(),
) -> MemoryEstimate:
    """Return what the model of `info` takes with a context of `context` tokens (None: `default_context`).

    `kv_type` is the cache's type, as in "F16" or "Q8_0"; `live`, `batch` and `exact` are those of the engine's context
    (`exact` is with an F32 cache and without flash attention); `copied` names the types whose tensors are copied out of
    the file.
    """
    cells = padded(context or default_context(info))
    live = max(1, min(live, 128))
    return MemoryEstimate(
        weights=info.weight_bytes,
        kv=_cache(info, cells, "F32" if exact else kv_type, exact=exact) + _states(info, live),
        buffers=_buffers(info, cells, min(batch, cells), live, exact=exact),
        copied=_copied(info, copied),
    )


def largest_context(info: GGUFInfo, room: int, **options: Any) -> int:
    """Return the largest context in tokens, up to the one trained for, whose total is at most `room`; 0 if none is.

    `options` are those of `estimate`.
    """
    low, high = 0, padded(info.context_length) // _CELLS
    while low < high:
        middle = (low + high + 1) // 2
        if estimate(info, middle * _CELLS, **options).total <= room:
            low = middle
        else:
            high = middle - 1
    return min(low * _CELLS, info.context_length)


def default_context(info: GGUFInfo) -> int:
    """Return the tokens of the context that the engine makes if it is not told."""
    return min(info.context_length, DEFAULT_CONTEXT)


def padded(tokens: int) -> int:
    """Return how many cells llama.cpp makes for a context of `tokens`."""
    return -(-tokens // _CELLS) * _CELLS


def rows(vocabulary: int, batch: int, live: int) -> int:
    """Return for how many tokens of one batch the engine's context keeps logits."""
    return max(live, min(batch, 64, _ROWS_BYTES // (_FLOAT * vocabulary)))


class _Keys:
    """The numbers of one architecture in a header; what is missing or no number is 0."""

    def __init__(self, info: GGUFInfo) -> None:
        self._prefix, self._metadata = info.architecture, info.metadata
        self.layers = min(MAX_LAYERS, max(0, self.number("block_count") - self.number("nextn_predict_layers")))
        self.width = self.number("embedding_length")
        shared = "attention.head_count_kv"
        self.kv_heads = self.of_layers(shared if self.has(shared) else "attention.head_count")
        self.hidden = self.of_layers("feed_forward_length")

    def has(self, name: str) -> bool:
        return f"{self._prefix}.{name}" in self._metadata

    def number(self, name: str) -> int:
        """Return a number; of an array the largest one."""
        return max(self._values(name), default=0)

    def of_layers(self, name: str) -> list[int]:
        """Return a number for each layer: one stands for all."""
        values = self._values(name)
        if len(values) <= 1:
            return (values or [0]) * self.layers
        return [*values, *[0] * self.layers][: self.layers]

    def _values(self, name: str) -> list[int]:
        value = self._metadata.get(f"{self._prefix}.{name}", 0)
        values: Sequence[Any] = value if isinstance(value, tuple) else (value,)
        return [int(item) if isinstance(item, int) and item > 0 else 0 for item in values]


def _cache(info: GGUFInfo, cells: int, kv_type: str, *, exact: bool) -> int:
    """The KV cache (llama.cpp, llama-kv-cache.cpp): no values where they are a part of the keys (MLA).

    Without flash attention all layers have room for the values of the widest.
    """
    keys = _Keys(info)
    heads = keys.number("attention.head_count")
    if not heads:
        return 0
    lengths = [keys.number(f"attention.{name}_length") or keys.width // heads for name in ("key", "value")]
    windowed = [keys.number(f"attention.{name}_length_swa") or lengths[n] for n, name in enumerate(("key", "value"))]
    if keys.number("attention.key_length_mla"):
        lengths[1] = windowed[1] = 0
    kept, own = _with_cache(info, keys), keys.layers - keys.number("attention.shared_kv_layers")
    sizes = [
        (count * length, count * width)
        for count, (length, width) in zip(
            keys.kv_heads,
            (windowed if window else lengths for window in keys.of_layers("attention.sliding_window_pattern")),
            strict=True,
        )
    ]
    widest = max((value for _, value in sizes), default=0)
    values = sum(key + (widest if exact else value) for n, (key, value) in enumerate(sizes) if n < own and kept[n])
    per_block, block = _SIZES[kv_type]
    return values * cells * block // per_block


def _states(info: GGUFInfo, live: int) -> int:
    """The states of recurrent layers (llama.cpp, llama-hparams.cpp: n_embd_r and n_embd_s), in F32."""
    keys = _Keys(info)
    with_state = [not kept for kept in _with_cache(info, keys)]
    if info.architecture == "falcon-h1" or not keys.number("attention.head_count"):
        with_state = [True] * keys.layers
    if info.architecture.startswith("nemotron_h"):  # some layers are a feed-forward alone
        with_state = [found and not hidden for found, hidden in zip(with_state, keys.hidden, strict=True)]
    return sum(with_state) * _state_values(keys) * (live + 1) * _FLOAT  # one is spare


def _with_cache(info: GGUFInfo, keys: _Keys) -> list[bool]:
    """Whether each layer keeps keys and values; the others of a hybrid keep a state."""
    if info.architecture == "falcon-h1" or not _state_values(keys):
        return [True] * keys.layers
    if keys.has("attention.recurrent_layers"):
        return [not item for item in keys.of_layers("attention.recurrent_layers")]
    if every := keys.number("full_attention_interval") or (4 if info.architecture == "qwen3next" else 0):
        return [(n + 1) % every == 0 for n in range(keys.layers)]
    return [count > 0 for count in keys.kv_heads]


def _state_values(keys: _Keys) -> int:
    """Return the values of one layer's state for one sequence."""
    width, conv = keys.width, max(0, keys.number("ssm.conv_kernel") - 1)
    if head := keys.number("wkv.head_size"):
        return (keys.number("token_shift_count") or 2) * width + width * head
    if kernel := keys.number("shortconv.l_cache"):
        return width * (kernel - 1)
    if head := keys.number("kda.head_dim"):
        return keys.number("attention.head_count") * head * (3 * (conv or 3) + head)
    inner, state = keys.number("ssm.inner_size"), keys.number("ssm.state_size")
    return conv * (inner + 2 * keys.number("ssm.group_count") * state) + state * inner


def _buffers(info: GGUFInfo, cells: int, batch: int, live: int, *, exact: bool) -> int:
    """The compute buffer and the rows of logits.

    llama.cpp reserves for the worst batch (llama-context.cpp: sched_reserve). Its allocator (ggml-alloc.c) gives a
    place to another tensor once nobody reads it any more, so what counts is the most that lives at one time. In a
    layer that is the F16 mask (cells x batch), and in F32 for each token either the gate, the input and the product of
    the feed-forward (for each expert in use) beside four vectors of the model's width, or queries, keys, values and
    their result beside three. Without flash attention the scores of all heads live too, and the mask is in F32. After
    the layers it is the logits. The finished rows are kept in one more place.
    """
    keys = _Keys(info)
    width, vocabulary = keys.width, max(1, info.vocabulary)
    heads, kv_heads = keys.number("attention.head_count"), max(keys.kv_heads, default=0)
    length = max(keys.number("attention.key_length"), keys.number("attention.value_length"), width // (heads or 1))
    used = keys.number("expert_used_count")
    experts = used * (3 * (keys.number("expert_feed_forward_length") or keys.number("feed_forward_length")) + 2 * width)
    feed = max(3 * keys.number("feed_forward_length"), experts) + 4 * width
    attention = 2 * (heads + kv_heads) * length + 3 * width if heads else 0
    mixer = 5 * keys.number("ssm.inner_size") + 3 * width
    scores = heads * cells * _FLOAT if exact else 0
    mask = (_FLOAT if exact else 2) * cells * (2 if keys.has("attention.sliding_window") else 1) if heads else 0
    kept = rows(vocabulary, batch, live) * vocabulary * _FLOAT
    in_layer = batch * (mask + max(feed * _FLOAT, attention * _FLOAT + scores, mixer * _FLOAT))
    in_layer += 2 * live * _state_values(keys) * _FLOAT
    return max(in_layer, kept + 2 * batch * width * _FLOAT) + kept


def _copied(info: GGUFInfo, types: Collection[str]) -> int:
    """Return the bytes of the tensors that are copied; embeddings are only looked up, and stay in the file.

    Where they serve as the output matrix too, they are copied for that.
    """
    names: Mapping[str, int] = {tensor.name: tensor.size for tensor in info.tensors if tensor.kind in types}
    size = sum(size for name, size in names.items() if name not in _LOOKED_UP)
    is_tied = all(tensor.name != "output.weight" for tensor in info.tensors)
    return size + (names.get("token_embd.weight", 0) if is_tied else 0)

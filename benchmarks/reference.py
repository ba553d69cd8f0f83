"""A small random Llama of transformers, and the same weights as a GGUF: somebody else's arithmetic to compare with.

Guarantees: nothing in it is a default that hides a mistake: heads share keys, norms are not ones, logits spread widely.
Needs transformers and torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.random_llama import byte_characters

__all__ = ["KINDS", "VOCAB", "log_probabilities", "make", "write"]

transformers: Any = import_module("transformers")  # its types ask for more than is known here
VOCAB, CONTEXT = 512, 2048
_SIZES: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5,
}  # fmt: skip
_STRETCHED = {
    "rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "own output": {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}},
    "tied output": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
        "tie_word_embeddings": True,
    },
    "stretched positions": {"rope_parameters": _STRETCHED, "tie_word_embeddings": True},
}
"""What differs between the models that are compared, by name."""
_LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def make(kind: str, seed: int = 0) -> Any:
    """Return a random model of a kind, in float32."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(**_SIZES, **{"tie_word_embeddings": False, **KINDS[kind]})
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim == 1:
                weights.uniform_(0.5, 1.5)
            else:
                weights.normal_(0.0, (0.3 if "embed" in name else 1.5 / weights.shape[1] ** 0.5))
    return model


def log_probabilities(model: Any, tokens: Sequence[int]) -> NDArray[np.float64]:
    """Return log P(next token) in nats after each of `tokens`: one row a place, one column a token."""
    with torch.no_grad():
        logits = model(torch.tensor([list(tokens)])).logits[0]
    found: NDArray[np.float64] = torch.log_softmax(logits.double(), dim=-1).numpy()
    return found


def write(model: Any, path: Path) -> Path:
    """Write the weights as an F32 GGUF that any llama.cpp reads."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("reference")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(VOCAB)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    _add_tokens(writer)
    for name, weights in _tensors(model):
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokens(writer: gguf.GGUFWriter) -> None:
    words = [f"w{n}" for n in range(VOCAB - 2 - 256)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["<s>", "</s>", *byte_characters(), *words])
    writer.add_token_types([3, 3] + [1] * (VOCAB - 2))
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: ")


def _tensors(model: Any) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the weights under llama.cpp's names, the rows of queries and keys in its order."""
    config, state = model.config, model.state_dict()
    yield "token_embd.weight", _array(state["model.embed_tokens.weight"])
    yield "output_norm.weight", _array(state["model.norm.weight"])
    if not config.tie_word_embeddings:
        yield "output.weight", _array(state["lm_head.weight"])
    if config.rope_parameters["rope_type"] != "default":
        plain = config.rope_parameters["rope_theta"] ** -(torch.arange(0, config.head_dim, 2) / config.head_dim)
        yield "rope_freqs.weight", _array(plain / model.model.rotary_emb.inv_freq)
    for layer in range(config.num_hidden_layers):
        for theirs, ours in _LAYER.items():
            weights = _array(state[f"model.layers.{layer}.{theirs}.weight"])
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(ours)
            yield f"blk.{layer}.{ours}.weight", weights if heads is None else _neighbours(weights, heads)


def _neighbours(weights: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Put side by side the rows that are turned together: transformers has them half a head apart."""
    rows, columns = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


def _array(weights: torch.Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = weights.detach().to(torch.float32).contiguous().numpy()
    return found

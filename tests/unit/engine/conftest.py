"""A tiny Llama with random weights, written on the fly: two layers, width 64, byte-level vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest

from agentkit.engine.dialects import plain
from agentkit.engine.llama import LlamaEngine
from benchmarks.random_llama import byte_characters

WIDTH, LAYERS, HEADS, HIDDEN, CONTEXT = 64, 2, 4, 128, 2048
LLAMA3 = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>",
)  # fmt: skip
LLAMA3_TEMPLATE = """{{- bos_token }}
{%- if tools %}{{ '<|start_header_id|>system<|end_header_id|>\n\n' }}
{%- for t in tools %}{{ t | tojson }}{{ '\n' }}{%- endfor %}{{ '<|eot_id|>' }}{%- endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}{{ '<|start_header_id|>ipython<|end_header_id|>\n\n' + (m.content | tojson) + '<|eot_id|>' }}
{%- elif m.tool_calls %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{{- '{"name": "' + m.tool_calls[0].function.name + '", "parameters": ' + (m.tool_calls[0].function.arguments | tojson) }}
{{- '}<|eot_id|>' }}
{%- else %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"""
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
HERMES_TEMPLATE = """{%- if tools %}{{ '<|im_start|>system\nTools, called as <tool_call></tool_call>:\n' }}
{%- for t in tools %}{{ t | tojson }}{{ '\n' }}{%- endfor %}{{ '<|im_end|>\n' }}{%- endif %}
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}
{%- for c in m.tool_calls or [] %}{{ '<tool_call>\n{"name": "' + c.function.name + '", "arguments": ' }}
{{- (c.function.arguments | tojson) + '}\n</tool_call>' }}{%- endfor %}{{ '<|im_end|>\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"""
MISTRAL = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
MISTRAL_TEMPLATE = """{{- bos_token }}{%- if tools %}{{ '[INST]' + (tools | tojson) + '[/INST]' }}{%- endif %}
{%- for m in messages %}{%- if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}
{%- elif m.role == 'tool' %}{{ '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}
{%- elif m.tool_calls %}{{ '[TOOL_CALLS][' }}{%- for c in m.tool_calls %}{{ '{"name": "' + c.function.name }}
{{- '", "arguments": ' + (c.function.arguments | tojson) + '}' }}{%- endfor %}{{ ']' + eos_token }}
{%- else %}{{ m.content + eos_token }}{%- endif %}{%- endfor %}"""
MISTRAL_LATER_TEMPLATE = MISTRAL_TEMPLATE.replace("{{ '[TOOL_CALLS][' }}", "").replace(
    "{{ ']' + eos_token }}", "{{ eos_token }}"
)
MISTRAL_LATER_TEMPLATE = MISTRAL_LATER_TEMPLATE.replace(
    '\'{"name": "\' + c.function.name', "'[TOOL_CALLS]' + c.function.name"
)
MISTRAL_LATER_TEMPLATE = MISTRAL_LATER_TEMPLATE.replace(
    "'\", \"arguments\": ' + (c.function.arguments | tojson) + '}'",
    "'[CALL_ID]' + c.id + '[ARGS]' + (c.function.arguments | tojson)",
)
CODER_TEMPLATE = """{%- if tools %}{{ '<|im_start|>system\nTools, called as <function=name>:\n' }}
{%- for t in tools %}{{ t | tojson }}{{ '\n' }}{%- endfor %}{{ '<|im_end|>\n' }}{%- endif %}
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{{ '\n\n' if m.content and m.tool_calls }}
{%- for c in m.tool_calls or [] %}{{ '\n' if not loop.first }}{{ '<tool_call>\n<function=' + c.function.name + '>\n' }}
{%- for name, value in c.function.arguments | items %}{{ '<parameter=' + name + '>\n' }}
{{- (value if value is string else value | tojson) + '\n</parameter>\n' }}{%- endfor %}{{ '</function>\n</tool_call>' }}
{%- endfor %}{{ '<|im_end|>\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{%- endif %}"""
GEMMA = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
GEMMA_TEMPLATE = """{{- bos_token }}
{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{%- endif %}
{%- for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{%- endif %}
{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim + '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{%- endif %}"""

WriteModel = Callable[..., Path]


def write_model(
    path: Path,
    *,
    controls: Sequence[str] = plain.CONTROL_TOKENS,
    bos: int = 1,
    eos: int = 2,
    template: str | None = None,
    extra: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Write a random Llama with these control tokens first, then 256 bytes, then two merges."""
    rng = np.random.default_rng(seed)
    byte_texts = [*byte_characters(), "he", "ll"]
    tokens = [*controls, *byte_texts]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_vocab_size(len(tokens))
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(controls) + [1] * len(byte_texts))
    writer.add_token_merges(["h e", "l l"])
    for name, value in (("bos", bos), ("eos", eos)):
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", value)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)
    for key, text in (extra or {}).items():
        writer.add_string(key, text)

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * (1.5 / np.sqrt(shape[-1]))).astype(np.float32)

    writer.add_tensor("token_embd.weight", rng.standard_normal((len(tokens), WIDTH)).astype(np.float32) * 0.3)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for n in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{n}.{name}.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{n}.{name}.weight", weights(WIDTH, WIDTH))
        writer.add_tensor(f"blk.{n}.ffn_gate.weight", weights(HIDDEN, WIDTH))
        writer.add_tensor(f"blk.{n}.ffn_up.weight", weights(HIDDEN, WIDTH))
        writer.add_tensor(f"blk.{n}.ffn_down.weight", weights(WIDTH, HIDDEN))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return write_model(path, extra={"agentkit.dialect": plain.NAME, "general.name": "tiny"})


@pytest.fixture(scope="session")
def chat_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One random model a form of calls; the name is the dialect's, and in some what is special."""
    folder = tmp_path_factory.mktemp("models")
    later, coder = (*MISTRAL, "[CALL_ID]", "[ARGS]"), (*CHATML, "<tool_call>", "</tool_call>")
    return {
        "llama3": write_model(folder / "l.gguf", controls=LLAMA3, bos=0, eos=4, template=LLAMA3_TEMPLATE),
        "hermes": write_model(folder / "h.gguf", controls=CHATML, bos=0, eos=2, template=HERMES_TEMPLATE),
        "mistral": write_model(folder / "m.gguf", controls=MISTRAL, bos=1, eos=2, template=MISTRAL_TEMPLATE),
        "mistral-later": write_model(folder / "n.gguf", controls=later, bos=1, eos=2, template=MISTRAL_LATER_TEMPLATE),
        "hermes-coder": write_model(folder / "c.gguf", controls=coder, bos=0, eos=2, template=CODER_TEMPLATE),
        "gemma": write_model(folder / "g.gguf", controls=GEMMA, bos=2, eos=4, template=GEMMA_TEMPLATE),
    }


@pytest.fixture(scope="session")
def engine(tiny: Path) -> Iterator[LlamaEngine]:
    with LlamaEngine(tiny, context=CONTEXT, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def write_tiny() -> WriteModel:
    """The function that writes such models."""
    return write_model

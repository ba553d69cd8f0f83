"""Merge a LoRA into the model that it was trained on, as a folder that transformers loads.

Guarantees: PEFT does the arithmetic, so whatever it can merge (DoRA, trained biases, whole modules) is merged; weights keep their
type; the tokenizer, the chat template and the key `agentkit` of config.json go along; every tensor of the adapter was used. The folder
appears whole or not at all.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams, ModelFileError
from agentkit_training.export.folder import headers, read_json

__all__ = ["check_pair", "merge", "tokenizer_folder"]

TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "chat_template.jinja",
)  # fmt: skip


def check_pair(base: Path, adapter: Path) -> None:
    """Look at a base and an adapter without loading them.

    Raises:
        InvalidParams: one is not what it should be, or they cannot be merged.
        ModelFileError: a file is damaged.
    """
    if not (base / "config.json").is_file():
        raise InvalidParams(f"/base: {base} has no config.json; give a folder that save_pretrained wrote")
    if not (adapter / "adapter_config.json").is_file():
        raise InvalidParams(
            f"/adapter: {adapter} has no adapter_config.json; give a folder that PEFT's save_pretrained wrote"
        )
    tied = read_json(base / "config.json").get("tie_word_embeddings")
    changed = [name for name in headers(adapter, "adapter_model") if ".lm_head." in name or ".embed_tokens." in name]
    if tied and changed:
        raise InvalidParams(
            f"/adapter: {adapter} changes {changed[0]}, and in this base the output is the embedding: it would change both; "
            "save the base untied, and train on that"
        )


def merge(base: Path, adapter: Path, out: Path) -> Path:
    """Write base and adapter as one model to the folder `out`, which is replaced where it exists, and return it.

    Raises:
        InvalidParams: the adapter is for another model.
        ModelFileError: one of the two cannot be loaded, or the result holds NaN.
    """
    check_pair(base, adapter)
    adapted = _adapted(base, adapter)
    try:
        merged = adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise ModelFileError(f"{adapter}: cannot be merged ({_line(error)}); train it again") from error
    with_tokens = tokenizer_folder(base, adapter)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        merged.save_pretrained(partial)
        for name in TOKENIZER:
            if (with_tokens / name).is_file():
                shutil.copy2(with_tokens / name, partial / name)
        if out.exists():
            shutil.rmtree(out)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _adapted(base: Path, adapter: Path) -> Any:
    """Return the base with the adapter upon it, every tensor of which was used.

    Raises:
        InvalidParams: the adapter is for another model.
        ModelFileError: the base cannot be loaded.
    """
    from peft import PeftModel, get_peft_model_state_dict  # noqa: PLC0415  8 s
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    options = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelFileError(
            f"{base}: transformers cannot load it ({_line(error)}); give the folder of a causal language model"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)  # an error here, below
            adapted = PeftModel.from_pretrained(model, adapter)
    except (ValueError, KeyError, RuntimeError, TypeError) as error:
        raise InvalidParams(
            f"/adapter: {adapter} does not fit {base} ({_line(error)}); give the base it was trained on"
        ) from error
    found = headers(adapter, "adapter_model").keys()
    read = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    odd = sorted((read - found) | {name for name in found - read if "lora_" in name})
    if odd:
        raise InvalidParams(
            f"/adapter: {adapter} does not fit {base}: {odd[0]} is in one only; give the base it was trained on"
        )
    return adapted


def tokenizer_folder(base: Path, adapter: Path | None) -> Path:
    """Return where the tokenizer is that the model was last trained with: the adapter's folder if it has one, else the base's."""
    return adapter if adapter is not None and (adapter / "tokenizer.json").is_file() else base


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]

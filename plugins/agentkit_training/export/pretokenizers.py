"""How a byte-level tokenizer cuts text before merging, and llama.cpp's name for it.

A name is a guess from the patterns alone; `checking` holds it against llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentkit.errors import ModelFileError

__all__ = ["PATTERNS", "pre_name"]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LIKE_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3, QWEN2 = _LIKE_GPT4 % "{1,3}", _LIKE_GPT4 % ""
DIGITS = "digits"  # each by itself

# What text is cut by, in order, and whether a word of the vocabulary is taken whole without merging -> llama.cpp's name.
PATTERNS: Mapping[tuple[tuple[str, ...], bool], str] = {
    ((GPT2,), False): "gpt-2",
    ((LLAMA3,), True): "llama-bpe",
    ((LLAMA3,), False): "smaug-bpe",
    ((QWEN2,), False): "qwen2",
    ((DIGITS, GPT2), False): "smollm",
}


def pre_name(tokenizer: Mapping[str, Any], where: object) -> str:
    """Return `tokenizer.ggml.pre` for a byte-level BPE in the form of tokenizer.json.

    Cuts that come after those of a known pattern are let pass: they may come to the same.

    Raises:
        ModelFileError: llama.cpp is not known to have such a cut.
    """
    cuts, whole = (
        tuple(_cuts(tokenizer.get("pre_tokenizer") or {}, where)),
        bool(tokenizer["model"].get("ignore_merges")),
    )
    for length in range(len(cuts), 0, -1):
        if (cuts[:length], whole) in PATTERNS:
            return PATTERNS[cuts[:length], whole]
    raise ModelFileError(
        f"{where}: text is cut by {' then '.join(map(repr, cuts)) or 'nothing'}{', words whole' if whole else ''} before merging, and "
        f"llama.cpp is not known to do so; known are the cuts of {', '.join(PATTERNS.values())}"
    )


def _cuts(step: Mapping[str, Any], where: object) -> Iterator[str]:
    """Yield patterns in order.

    Raises:
        ModelFileError: a step that is no cut.
    """
    kind = step.get("type")
    if kind == "Sequence":
        for inner in step["pretokenizers"]:
            yield from _cuts(inner, where)
    elif kind == "ByteLevel":
        if step.get("add_prefix_space"):
            raise ModelFileError(
                f"{where}: add_prefix_space is on, which llama.cpp does not do for byte-level BPE; turn it off"
            )
        if step.get("use_regex", True):
            yield GPT2
    elif kind == "Digits" and step.get("individual_digits"):
        yield DIGITS
    elif kind == "Split" and str(step.get("behavior")).lower() == "isolated" and not step.get("invert"):
        pattern = step["pattern"]
        yield pattern.get("Regex") or f"the text {pattern.get('String')!r}"
    else:
        raise ModelFileError(f"{where}: the pre-tokenizer {kind} {dict(step)} is none that llama.cpp has")

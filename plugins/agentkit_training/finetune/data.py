"""From checked rows to what TRL is handed: divided, measured in tokens, none longer than the model can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentkit.errors import InvalidParams
from agentkit_training.finetune.bases import Base
from agentkit_training.finetune.params import TrainParams
from agentkit_training.finetune.rows import Kind, Row, Rows, held_out, read_rows

__all__ = ["Data", "prompt_length", "read_data", "tokens_of"]

LONGEST = 1_024  # tokens of a row where nothing is said


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What is trained on and what is evaluated on.

    Attributes:
        train, eval: rows as TRL takes them.
        lengths: tokens of each row of `train`; of a pair, those of its two sequences together.
        max_length: tokens that a sequence may have.
        sha256: of all of it.
        warnings: what was left out, and why.
    """

    train: list[dict[str, Any]]
    eval: list[dict[str, Any]]
    lengths: tuple[int, ...]
    max_length: int
    sha256: str
    warnings: tuple[str, ...]


def read_data(params: TrainParams, kind: Kind, base: Base, tokenizer: Any) -> Data:
    """Read and check the files that `params` names.

    Raises:
        InvalidParams: a file or a row cannot be used; names the rows.
    """
    context = base.config.get("max_position_embeddings") or LONGEST
    longest = params.max_length or min(int(context), LONGEST)
    if longest > context:
        raise InvalidParams(f"/max_length: {longest} tokens, and {base.name} reads {context}; give at most that")
    rows, lengths = _fitting(read_rows(params.data, kind, skip=params.skip_bad_rows), tokenizer, longest, params)
    if params.eval_data is not None:
        other, _ = _fitting(read_rows(params.eval_data, kind, skip=params.skip_bad_rows), tokenizer, longest, params)
        train, evaluated = list(rows.rows), list(other.rows)
        left_out, digest = (*rows.left_out, *other.left_out), rows.sha256 + other.sha256
    else:
        train, evaluated = held_out(rows, params.held_out)
        left_out, digest = rows.left_out, rows.sha256
    return Data(
        train=[_plain(row, kind, rows) for row in train],
        eval=[_plain(row, kind, rows) for row in evaluated],
        lengths=tuple(sum(lengths[row.place]) for row in train),
        max_length=longest,
        sha256=digest,
        warnings=tuple(f"left out, {one}" for one in left_out),
    )


def _fitting(rows: Rows, tokenizer: Any, longest: int, params: TrainParams) -> tuple[Rows, dict[str, list[int]]]:
    """Return the rows no sequence of which is too long, and their lengths by place."""
    if rows.conversational and not tokenizer.chat_template:
        raise InvalidParams(
            f"/data: {rows.path} has conversations, and the model has no chat template; give plain texts"
        )
    lengths: dict[str, list[int]] = {}
    bad: dict[str, str] = {}
    for row in rows.rows:
        try:
            found = [len(one) for one in tokens_of(row.data, tokenizer)]
        except InvalidParams as error:
            bad[row.place] = str(error).removeprefix("/data: ")
            continue
        lengths[row.place] = found
        if max(found) > longest:
            bad[row.place] = f"{max(found)} tokens, and at most {longest} fit (--max-length)"
    return rows.without(bad, skip=params.skip_bad_rows), lengths


def tokens_of(data: Mapping[str, Any], tokenizer: Any) -> list[list[int]]:
    """Return the tokens of each sequence that a row becomes: one, or the two of a pair.

    Raises:
        InvalidParams: the chat template refuses it.
    """
    if "chosen" in data:
        return [_sequence(data, name, tokenizer) for name in ("chosen", "rejected")]
    for name in ("messages", "completion", "text"):
        if name in data:
            return [_sequence(data, name, tokenizer)]
    return [_sequence(data, "", tokenizer)]


def prompt_length(data: Mapping[str, Any], tokenizer: Any) -> int:
    """Return how many tokens of each of a row's sequences come before the completion; at least 1.

    Of a pair without a prompt, that is what both begin with.
    """
    if "prompt" not in data and "chosen" in data:
        chosen, rejected = tokens_of(data, tokenizer)
        shorter = min(len(chosen), len(rejected))
        return next((place for place in range(1, shorter) if chosen[place] != rejected[place]), shorter)
    if "prompt" not in data:
        return 1
    return max(1, len(_sequence({"prompt": data["prompt"], "tools": data.get("tools")}, "", tokenizer)))


def _sequence(data: Mapping[str, Any], name: str, tokenizer: Any) -> list[int]:
    before = data.get("prompt", "" if isinstance(data.get(name, ""), str) else [])
    if name in {"messages", "text"}:
        before = data[name][:0]
    whole = before + data[name] if name else before
    if isinstance(whole, str):
        end = [tokenizer.eos_token_id] if name else []
        return [*tokenizer(whole).input_ids, *end]
    tools = data.get("tools")
    tools = json.loads(tools) if isinstance(tools, str) else tools
    from jinja2 import TemplateError  # noqa: PLC0415

    try:
        found = tokenizer.apply_chat_template(whole, tools=tools, add_generation_prompt=not name, return_dict=False)
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise InvalidParams(
            f"/data: the model's chat template refuses a conversation ({error}); mend its roles"
        ) from error
    return list(found)


def _plain(row: Row, kind: Kind, rows: Rows) -> dict[str, Any]:
    """Return the columns that TRL reads; with prompts all others go along, for the reward function."""
    wanted = row.data.keys() if kind == "prompts" else {*rows.columns, "tools"}
    return {name: value for name, value in row.data.items() if name in wanted}

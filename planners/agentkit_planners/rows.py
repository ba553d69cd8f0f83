"""What trees teach as rows for training: TRL's conversational formats, one JSON object a row.

A row's prompt is the conversation that the tree was grown from, and the steps and results on the way to the node. Nothing of
the check is in it. Rows are split by task and are distinct.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from agentkit_planners.export import Limits, Pair, distinct, learnt, split_of
from agentkit_planners.tree import Node, Tree

__all__ = ["KINDS", "Kind", "rows_of"]

Kind = Literal["pairs", "policies", "values"]
KINDS: tuple[Kind, ...] = ("pairs", "policies", "values")
Message = dict[str, Any]


def rows_of(
    trees: Sequence[Mapping[str, Any]], kind: Kind, *, limits: Limits | None = None
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of saved trees.

    Args:
        trees: as the store keeps them; those without a `prompt` (of planners and problems that are no agent) give none.
        kind: `pairs` has prompt, chosen and rejected (TRL's preference format) with the behaviour's log-probabilities;
            `policies` has prompt, completions and what the search made of their probabilities; `values` prompt and value.
        limits: of pairs.
    """
    kept = limits or Limits()
    keys = {"pairs": ["prompt", "chosen", "rejected"], "policies": ["prompt"], "values": ["prompt"]}[kind]
    found = (row for tree in trees if tree.get("prompt") for row in _rows(tree, kind, kept))
    return distinct(found, keys)


def _rows(saved: Mapping[str, Any], kind: Kind, limits: Limits) -> Iterator[dict[str, Any]]:
    tree = Tree.from_plain(saved)
    verified = any(was for _, was in tree.found.values())
    taught = learnt(tree, verified=verified, limits=limits)
    about = {
        "tools": saved.get("tools", []),
        "task": saved.get("task", ""),
        "split": split_of(str(saved.get("task", ""))),
    }
    if kind == "pairs":
        for pair in taught.pairs:
            yield {**_preference(saved, tree, pair), **about}
    elif kind == "policies":
        for target in taught.policies:
            node = tree.nodes[target.node]
            said = [[_said(node, action)] for action in range(len(node.actions))]
            prompt = _prompt(saved, tree, target.node)
            yield {
                "prompt": prompt,
                "completions": said,
                "policy": list(target.policy),
                "prior": list(node.priors),
                **about,
            }
    else:
        for value in taught.values:
            prompt = _prompt(saved, tree, value.node)
            yield {"prompt": prompt, "value": value.mean, "variance": value.variance, **about}


def _preference(saved: Mapping[str, Any], tree: Tree, pair: Pair) -> dict[str, Any]:
    node = tree.nodes[pair.node]
    return {
        "prompt": _prompt(saved, tree, pair.node),
        "chosen": [_said(node, pair.chosen)],
        "rejected": [_said(node, pair.rejected)],
        "logprob_chosen": pair.logprobs[0],
        "logprob_rejected": pair.logprobs[1],
        "worth_chosen": pair.worth[0],
        "worth_rejected": pair.worth[1],
        "label_smoothing": pair.smoothing,
        "weight": pair.weight,
    }


def _prompt(saved: Mapping[str, Any], tree: Tree, number: int) -> list[Message]:
    messages: list[Message] = [dict(message) for message in saved["prompt"]]
    for parent, via, met in tree.way(number):
        node = tree.nodes[parent]
        messages += [_said(node, via), *_given(node, via, tree.nodes[met].observation)]
    return messages


def _said(node: Node, action: int) -> Message:
    """Return a step as an assistant's message."""
    step = node.actions[action].step
    calls = [
        {
            "type": "function",
            "function": {"name": call.tool, "arguments": json.dumps(dict(call.arguments), ensure_ascii=False)},
        }
        for call in step.calls
    ]
    return {"role": "assistant", "content": step.text, **({"tool_calls": calls} if calls else {})}


def _given(node: Node, action: int, observation: str) -> list[Message]:
    """Return what the tools gave; results of several calls stand in the message of the first."""
    calls = node.actions[action].step.calls
    texts = [observation, *([""] * (len(calls) - 1))]
    return [
        {"role": "tool", "name": call.tool, "content": text}
        for call, text in zip(calls, texts[: len(calls)], strict=True)
    ]

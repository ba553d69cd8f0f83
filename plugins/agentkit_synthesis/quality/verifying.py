"""Rows verified anew, by the data set's own verifier or by making them again.

A verifier is code that the manifest names, and a row of tool use may name tools to call. Neither is run, where it is not
agentkit_synthesis's own, unless the caller trusts it: a data set can come from anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from agentkit.errors import AgentkitError, InvalidParams
from agentkit_synthesis.quality.numbers import figure

__all__ = ["Check", "calls_others", "check_of", "verified"]

OWN = "agentkit_synthesis"

Check = Callable[[Mapping[str, Any]], str]  # why a row is wrong, or nothing


def check_of(manifest: Mapping[str, Any], *, trust: bool) -> tuple[str, Check | None]:
    """Return how rows are verified, in words, and the check; None where there is none.

    Taken is the function that `verifier` names, as `module:function`; else `verify` of the source's module; else a row
    is made again by the source from the index at the end of its id, and has to be the same.

    Raises:
        InvalidParams: what the manifest names cannot be imported.
    """
    source = str(manifest.get("source") or "")
    named = str(manifest.get("verifier") or "")
    module = (named or source).partition(":")[0]
    if not module:
        return "the data set names no verifier", None
    if module.partition(".")[0] != OWN and not trust:
        return f"{named or source} was not run: it is code of others (--trust-verifier runs it)", None
    function = getattr(_module(module), named.partition(":")[2] or "verify", None)
    if callable(function):
        return f"executed by {module}:{function.__name__}", _asked(function)
    if callable(made := getattr(_module(module), source.partition(":")[2], None)) and not named:
        return f"made again by {source}", _again(made, manifest)
    raise InvalidParams(
        f"/data: the manifest names {named or source}, which is not there; install what made the data set"
    )


def calls_others(row: Mapping[str, Any]) -> bool:
    """Whether verifying a row would call tools that it names, in a module that it names."""
    world = row.get("world")
    return isinstance(world, Mapping) and "from" in world


def verified(rows: Iterable[Mapping[str, Any]], check: Check, tick: Callable[[], None]) -> dict[str, Any]:
    """Return how many rows a check finds right, and the most frequent reasons where not."""
    count, reasons = 0, Counter[str]()
    for row in rows:
        count += 1
        if wrong := _checked(check, row):
            reasons[wrong] += 1
        tick()
    right = count - sum(reasons.values())
    return {"rows": count, "right": right, "share": figure(right / count if count else 0.0, count, 1), "wrong": dict(reasons.most_common(5))}  # fmt: skip


def _checked(check: Check, row: Mapping[str, Any]) -> str:
    try:
        return check(row)
    except AgentkitError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  a row that a verifier breaks on is not verified
        return f"{type(error).__name__}: {error}"


def _asked(function: Callable[[Mapping[str, Any]], object]) -> Check:
    def check(row: Mapping[str, Any]) -> str:
        said = function(row)
        if said is None or isinstance(said, bool):
            return "" if said in (None, True) else "the verifier says no"
        if isinstance(said, str):
            return said
        return "; ".join(str(one) for one in said) if isinstance(said, (list, tuple)) else repr(said)

    return check


def _again(make: Callable[..., Any], manifest: Mapping[str, Any]) -> Check:
    def check(row: Mapping[str, Any]) -> str:
        _, seed, index = str(row.get("id", "")).rsplit("-", 2)
        made = make(dict(manifest.get("options") or {}), int(seed), int(index))
        same = isinstance(made, Mapping) and all(row.get(key) == value for key, value in made.items() if key in row)
        return "" if same else "made again, it is another row"

    return check


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise InvalidParams(f"/data: {name} cannot be imported ({error}); install what made the data set") from error

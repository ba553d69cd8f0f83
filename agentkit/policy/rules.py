"""The rules of `[[policy.rules]]`: which of them a call is about, and whether they can mean anything at all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from agentkit.config import PolicyRule
from agentkit.errors import ConfigError
from agentkit.policy.patterns import fits, property_names, texts, touches
from agentkit.types import ToolSpec

_STRICTER = ("deny", "ask", "allow")


def first_rule(
    rules: Iterable[PolicyRule],
    spec: ToolSpec,
    arguments: Mapping[str, Any],
    *,
    interactive: bool,
    workspace: Path | None = None,
) -> PolicyRule | None:
    """Return the rule that decides about a call, or None: of those it fits, the highest; among equals the strictest."""
    given = {**_defaults(spec), **arguments}
    fitting = (rule for rule in rules if _is_about(rule, spec, given, interactive, workspace))
    return min(fitting, key=lambda rule: (-rule.priority, _STRICTER.index(rule.decision)), default=None)


def check_rules(rules: Sequence[PolicyRule], specs: Sequence[ToolSpec]) -> None:
    """Refuse a rule that names an argument which none of its tools has: it would never hold.

    Raises:
        ConfigError: there is one; names the nearest argument.
    """
    for number, rule in enumerate(rules):
        about = [spec for spec in specs if fnmatchcase(spec.name, rule.tool)]
        known = sorted({name for spec in about for name in spec.parameters.get("properties", {})})
        for name in rule.arguments:
            if about and name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.5)
                hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known) or 'none'}"
                raise ConfigError(
                    f"policy.rules[{number}].arguments.{name}: '{rule.tool}' has no such argument; {hint}"
                )


def _is_about(
    rule: PolicyRule, spec: ToolSpec, given: Mapping[str, Any], interactive: bool, workspace: Path | None
) -> bool:
    if not fnmatchcase(spec.name, rule.tool) or (rule.effect and spec.rules.effect.value not in rule.effect):
        return False
    if rule.interactive is not None and rule.interactive is not interactive:
        return False
    names = property_names(spec.parameters)
    for argument, pattern in rule.arguments.items():
        values = list(texts(given.get(argument), names))
        if rule.decision == "allow":
            if not values or not all(fits(value, pattern) for value in values):
                return False
        elif not any(touches(value, pattern, workspace) for value in values):
            return False
    return True


def _defaults(spec: ToolSpec) -> dict[str, Any]:
    """Return what a tool takes for arguments that are left out, as far as its schema says."""
    properties: Mapping[str, Any] = spec.parameters.get("properties", {})
    return {
        name: about["default"]
        for name, about in properties.items()
        if isinstance(about, Mapping) and about.get("default") is not None
    }

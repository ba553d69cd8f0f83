"""Allow, ask or deny one call.

The order: deny list, then yolo, then what the mode and the effect say, with the allow list in place of a
person. Untrusted text in the context narrows every choice to destinations that trusted words or an allow
list name in full. What no rule covers is asked about. Only a person, `yolo` or a pattern overrules that.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from agentkit.config import PolicySettings
from agentkit.literals import is_grounded
from agentkit.types import Effect, ToolCall, ToolRules, ToolSpec

_REFERENCE = re.compile(r"\$\d")
_SHELL = frozenset(";&|`$<>()\n\\")


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may be made."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A person must decide; says why."""

    why: str


@dataclass(frozen=True, slots=True)
class Deny:
    """The call must not be made, whoever asks; says why."""

    why: str


Decision = Allow | Ask | Deny


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One call with what is known about its surroundings."""

    spec: ToolSpec
    call: ToolCall
    tainted: bool
    trusted: Sequence[str]

    @property
    def rules(self) -> ToolRules:
        return self.spec.rules

    @property
    def looks(self) -> bool:
        """Whether it only looks."""
        return self.rules.effect in {Effect.PURE, Effect.READ}

    def destinations(self) -> Iterator[tuple[str, str]]:
        """Yield (argument, value) for every destination the call names.

        A tool on the network that declares none may send anywhere: once a stranger was heard, each of its
        arguments counts as a destination.
        """
        trusted = (name for name, source in self.rules.grounded.items() if source == "trusted")
        names = dict.fromkeys((*self.rules.sinks, *trusted))
        if not names and self.tainted and self.rules.egress:
            names = dict.fromkeys(self.call.arguments)
        for name in names:
            for value in _texts(self.call.arguments.get(name)):
                yield name, value


class Policy:
    """Decides about calls; the same question always gets the same answer.

    Args:
        settings: mode and lists. An entry of `allow_tools` and `deny_tools` is a tool's name, `*` standing
            for anything. `name:pattern` in `allow_tools` allows only the destinations that fit the pattern, but
            also while untrusted text is in the context; `name:*` allows all of them.
        interactive: whether somebody can be asked at once; if not, reasons say how to allow the call.
    """

    def __init__(self, settings: PolicySettings, *, interactive: bool) -> None:
        self._settings = settings
        self._interactive = interactive

    def decide(
        self, spec: ToolSpec, call: ToolCall, *, untrusted_in_context: bool, trusted_texts: Sequence[str]
    ) -> Decision:
        """Return the decision on `call`, whose arguments have been validated.

        Args:
            spec: the tool's rules.
            call: the call, references resolved.
            untrusted_in_context: whether the model has seen words of a stranger.
            trusted_texts: the user's own words and those of the configuration.
        """
        if any(fnmatchcase(spec.name, entry) for entry in self._settings.deny_tools):
            return Deny("it is on the deny list (policy.deny_tools)")
        if self._settings.mode == "yolo":
            return Allow()
        question = _Question(spec=spec, call=call, tainted=untrusted_in_context, trusted=trusted_texts)
        stray = self._stray(question)
        why = stray or self._objection(question)
        if why is None:
            return Allow()
        return Ask(why if self._interactive else f"{why}; {_mend(question, named=stray is None)}")

    def _stray(self, question: _Question) -> str | None:
        """Return what is wrong with the first destination that nobody trusted named, or None."""
        leaves = question.rules.egress and not self._listed(question)
        if (question.looks and not question.rules.egress) or not (leaves or question.tainted):
            return None
        for argument, value in question.destinations():
            if not self._named(question, argument, value):
                because = "untrusted text has been read" if question.tainted else "it leaves this machine"
                return f"nobody trusted named {_short(value)} (argument '{argument}'), and {because}"
        return None

    def _objection(self, question: _Question) -> str | None:
        """Return why a person is needed though all destinations are named, or None."""
        rules = question.rules
        if (question.looks and not rules.egress) or self._listed(question):
            return None
        nowhere = not any(True for _ in question.destinations())
        if nowhere and (question.tainted or (rules.egress and not question.looks)):
            return f"it {_verb(rules)} and names no destination that could be checked"
        if question.looks:
            return None
        if self._settings.mode == "manual":
            return f"it {_verb(rules)}, and the mode is manual"
        if rules.effect is not Effect.WRITE:
            return f"it {_verb(rules)}"
        outside = next((value for _, value in question.destinations() if _leaves(value)), None)
        if outside is not None and not is_grounded(outside, question.trusted):
            return f"{_short(outside)} lies outside the workspace, and nobody named it"
        return None

    def _named(self, question: _Question, argument: str, value: str) -> bool:
        """Whether the user, or an allow list, named this destination in full."""
        if argument in question.rules.references and _REFERENCE.search(value):
            return False  # stands for a tool's result
        if is_grounded(value, question.trusted):
            return True
        if _host(value) in {host.lower() for host in self._settings.allow_hosts} - {""}:
            return True
        return any(_fits(value, pattern) for pattern in self._patterns(question.spec.name) if pattern)

    def _listed(self, question: _Question) -> bool:
        """Whether the allow list holds the tool, for the destinations of this call."""
        patterns = self._patterns(question.spec.name)
        values = [value for _, value in question.destinations()]
        fits = all(any(_fits(value, pattern) for pattern in patterns if pattern) for value in values)
        return "" in patterns or "*" in patterns or bool(patterns and values and fits)

    def _patterns(self, name: str) -> list[str]:
        """Return the patterns that the allow list has for a tool; one without a pattern is empty."""
        entries = (entry.partition(":") for entry in self._settings.allow_tools)
        return [pattern for tool, _, pattern in entries if fnmatchcase(name, tool)]


def _mend(question: _Question, *, named: bool) -> str:
    """Return how the call could be allowed without asking."""
    name = question.spec.name
    if named:
        return f"allow it with --allow-tool {name}"
    entry = f"'{name}:*'" if question.tainted else name
    return f"name it in the task, or allow it with --allow-tool {entry}"


def _texts(value: Any) -> Iterator[str]:
    """Yield every non-empty text in an argument's value, however deep."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
    elif value is not None and str(value).strip():
        yield str(value)


def _fits(value: str, pattern: str) -> bool:
    """Whether `value` fits the pattern in every part that matters; `*` alone fits all."""
    if pattern in {"*", value}:
        return True
    if "://" in pattern:
        return _url_fits(value, pattern)
    if _SHELL & set(value) or "://" in value or ".." in value.split("/"):
        return False
    if any(char in value and char not in pattern for char in " \t,"):
        return False  # one pattern, one thing: `*@example.com` is not a list of recipients
    return fnmatchcase(value, pattern)


def _url_fits(value: str, pattern: str) -> bool:
    try:
        one, other = urlsplit(value), urlsplit(pattern)
        same_place = (one.scheme, one.port) == (other.scheme, other.port)
    except ValueError:
        return False
    if not same_place or "@" in one.netloc or "\\" in value:
        return False
    path = one.path + (f"?{one.query}" if one.query else "")
    return fnmatchcase(one.hostname or "", other.hostname or "") and fnmatchcase(path or "/", other.path or "/")


def _host(value: str) -> str:
    if "://" not in value or "\\" in value:
        return ""
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    return "" if "@" in parts.netloc else (parts.hostname or "").lower()


def _leaves(value: str) -> bool:
    """Whether a path may lie outside the workspace."""
    path = posixpath.normpath(value.replace("\\", "/"))
    return path.startswith(("/", "~")) or path.split("/")[0] == ".." or path[1:2] == ":"


def _verb(rules: ToolRules) -> str:
    verbs = {Effect.PURE: "computes", Effect.READ: "reads", Effect.WRITE: "changes something"}
    verb = verbs.get(rules.effect, "cannot be taken back")
    return f"{verb} over the network" if rules.egress and rules.effect in verbs else verb


def _short(value: str) -> str:
    text = " ".join(value.split())
    return repr(text if len(text) <= 60 else f"{text[:57]}...")

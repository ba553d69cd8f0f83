"""Allow, ask or deny one call.

The order: deny list, then the first of the rules, then yolo, then what the mode and the effect say, with the allow list in
place of a person. A long job (`cost`) is asked about whatever its effect. Untrusted text in the context narrows every choice to destinations that trusted words or an allow
list name in full. What no rule covers is asked about. Only a person, `yolo` or a pattern overrules that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from agentkit.config import PolicyRule, PolicySettings
from agentkit.literals import is_grounded
from agentkit.policy.intent import is_meant
from agentkit.policy.patterns import fits, host_of, leaves, looks_alike, property_names, texts, touches
from agentkit.policy.rules import first_rule
from agentkit.types import Effect, ToolCall, ToolRules, ToolSpec

_REFERENCE = re.compile(r"\$\d")


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may be made."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A person must decide; says why."""

    why: str
    once: bool = False  # a destination is in doubt: the answer holds for this call alone


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
    rule: PolicyRule | None = None  # that decides, where one is about the call

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
        keys = property_names(self.spec.parameters)
        for name in names:
            for value in texts(self.call.arguments.get(name), keys):
                yield name, value


class Policy:
    """Decides about calls; the same question always gets the same answer.

    Args:
        settings: mode, lists and rules. An entry of `allow_tools` and `deny_tools` is a tool's name, `*` standing
            for anything. `name:pattern` in `allow_tools` allows only the destinations that fit the pattern, but
            also while untrusted text is in the context; `name:*` allows all of them. In `deny_tools` it denies them.
        interactive: whether somebody can be asked at once; if not, reasons say how to allow the call.
        workspace: where paths begin; a pattern that forbids a path then forbids all ways to it.
    """

    def __init__(self, settings: PolicySettings, *, interactive: bool, workspace: Path | None = None) -> None:
        self._settings = settings
        self._interactive = interactive
        self._workspace = workspace

    def decide(
        self, spec: ToolSpec, call: ToolCall, *, untrusted_in_context: bool, trusted_texts: Sequence[str]
    ) -> Decision:
        """Return the decision on `call`.

        Args:
            spec: the tool's rules.
            call: the call as the tool will get it: arguments validated, references resolved.
            untrusted_in_context: whether the model has seen words of a stranger.
            trusted_texts: the user's own words and those of the configuration.
        """
        rule = first_rule(
            self._settings.rules, spec, call.arguments, interactive=self._interactive, workspace=self._workspace
        )
        question = _Question(spec=spec, call=call, tainted=untrusted_in_context, trusted=trusted_texts, rule=rule)
        if self._denied(question):
            return Deny("it is on the deny list (policy.deny_tools)")
        if rule is not None and rule.decision == "deny":
            return Deny(rule.why or "a rule denies it (policy.rules)")
        if self._settings.mode == "yolo":
            return Allow()
        if rule is not None and rule.decision == "ask":
            return Ask(rule.why or "a rule asks about it (policy.rules)", once=True)
        stray = self._stray(question)
        why = stray or self._objection(question)
        if why is None:
            return Allow()
        mend = "" if self._interactive else f"; {_mend(question, named=stray is None)}"
        return Ask(f"{why}{mend}", once=stray is not None)

    def allowed(self, specs: Sequence[ToolSpec]) -> dict[tuple[str, str], tuple[str, ...]]:
        """Return which patterns allow a destination that nobody named, by tool and argument: for a decoder to hold."""
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        for spec in specs:
            trusted = [name for name, how in spec.rules.grounded.items() if how in ("trusted", "words", "clause")]
            for name in dict.fromkeys((*spec.rules.sinks, *trusted)):
                patterns = [
                    *filter(None, self._patterns(spec.name)),
                    *(rule.arguments[name] for rule in self._allowing(spec) if name in rule.arguments),
                ]
                if patterns:
                    found[spec.name, name] = tuple(dict.fromkeys(patterns))
        return found

    def _allowing(self, spec: ToolSpec) -> Iterator[PolicyRule]:
        """Yield the rules that may allow a call of a tool; what they come to for a call, `decide` says."""
        for rule in self._settings.rules:
            about = fnmatchcase(spec.name, rule.tool) and (not rule.effect or spec.rules.effect.value in rule.effect)
            if rule.decision == "allow" and about and rule.interactive in {None, self._interactive}:
                yield rule

    def _denied(self, question: _Question) -> bool:
        """Whether the deny list holds the tool, or one of the destinations."""
        name = question.spec.name
        for entry in self._settings.deny_tools:
            tool, _, pattern = entry.partition(":")
            if fnmatchcase(name, tool) and (
                not pattern
                or any(touches(value, pattern, self._workspace) for value in texts(dict(question.call.arguments)))
            ):
                return True
        return False

    def _stray(self, question: _Question) -> str | None:
        """Return what is wrong with the first destination that nobody trusted named, or None."""
        leaves = question.rules.egress and not self._listed(question)
        if (question.looks and not question.rules.egress) or not (leaves or question.tainted):
            return None
        because = "untrusted text has been read" if question.tainted else "it leaves this machine"
        for argument, value in question.destinations():
            about = f"{_short(value)}{looks_alike(value)} (argument '{argument}')"
            if not self._named(question, argument, value):
                return f"nobody trusted named {about}, and {because}"
            if question.tainted and not question.looks and not self._meant(question, argument, value):
                return f"{about} is named, but not as where this goes, and {because}"
        return None

    def _objection(self, question: _Question) -> str | None:
        """Return why a person is needed though all destinations are named, or None."""
        rules = question.rules
        if (question.looks and not rules.egress and not rules.cost) or self._listed(question):
            return None
        nowhere = not any(True for _ in question.destinations())
        if nowhere and (question.tainted or (rules.egress and not question.looks)):
            return f"it {_verb(rules)} and names no destination that could be checked"
        if rules.cost:
            return f"it {_verb(rules)} and may take long"
        if question.looks:
            return None
        if self._settings.mode == "manual":
            return f"it {_verb(rules)}, and the mode is manual"
        if rules.effect is not Effect.WRITE:
            return f"it {_verb(rules)}"
        outside = next((value for _, value in question.destinations() if leaves(value)), None)
        if outside is not None and not is_grounded(outside, question.trusted):
            return f"{_short(outside)} lies outside the workspace, and nobody named it"
        return None

    def _named(self, question: _Question, argument: str, value: str) -> bool:
        """Whether the user, or an allow list, named this destination in full."""
        if argument in question.rules.references and _REFERENCE.search(value):
            return False  # stands for a tool's result
        return is_grounded(value, question.trusted) or self._allowed(question, argument, value)

    def _meant(self, question: _Question, argument: str, value: str) -> bool:
        """Whether a destination that is named was named as one."""
        return is_meant(value, question.spec, question.trusted) or self._allowed(question, argument, value)

    def _allowed(self, question: _Question, argument: str, value: str) -> bool:
        """Whether an allow list or a rule holds this destination."""
        if question.rule is not None and argument in question.rule.arguments:
            return True  # it allows, and fits
        if set(host_of(value)) & ({host.lower() for host in self._settings.allow_hosts} - {""}):
            return True
        return any(fits(value, pattern) for pattern in self._patterns(question.spec.name) if pattern)

    def _listed(self, question: _Question) -> bool:
        """Whether the allow list holds the tool, for the destinations of this call."""
        if question.rule is not None:  # it allows: what denies or asks was heard before
            only = question.rule.arguments
            return not only or all(
                name in only or self._named(question, name, value) for name, value in question.destinations()
            )
        patterns = self._patterns(question.spec.name)
        values = [value for _, value in question.destinations()]
        all_fit = all(any(fits(value, pattern) for pattern in patterns if pattern) for value in values)
        return "" in patterns or "*" in patterns or bool(patterns and values and all_fit)

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


def _verb(rules: ToolRules) -> str:
    verbs = {Effect.PURE: "computes", Effect.READ: "reads", Effect.WRITE: "changes something"}
    verb = verbs.get(rules.effect, "cannot be taken back")
    return f"{verb} over the network" if rules.egress and rules.effect in verbs else verb


def _short(value: str) -> str:
    text = " ".join(value.split())
    return repr(text if len(text) <= 60 else f"{text[:57]}...")

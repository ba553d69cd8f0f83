"""`@tool`: a typed function with a Google docstring becomes a tool.

The signature is the schema, the docstring's first paragraph the description, the keywords its rules. What is
declared in a way that cannot work is refused here, with the mend, and not when a model calls it.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import fields, replace
from typing import Any, TypedDict, Unpack, cast, get_args, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError

from agentkit.errors import ToolError
from agentkit.protocols import Tool, ToolContext
from agentkit.tools.schema import Docs, read_docstring, simplify
from agentkit.types import Effect, Grounding, Isolation, Outcome, ToolRules, ToolSpec, Trust

Function = Callable[..., Any]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


class Rules(TypedDict, total=False):
    """The keywords of `@tool`: fields of `ToolRules`, the functions behind three of them, and a name."""

    name: str
    effect: Effect | str
    egress: bool
    idempotent: bool
    accepts_key: bool
    predict: Function
    fork: bool
    undo: Function
    reconcile: Callable[[str, ToolContext], Outcome | None]
    timeout_s: float
    idle_s: float | None
    max_output_chars: int
    polls: bool
    failure_is_data: bool
    volatile: tuple[str, ...]
    cost: bool
    isolation: Isolation
    trust: Trust | str
    sinks: tuple[str, ...]
    grounded: Mapping[str, Grounding]
    keywords: tuple[str, ...]
    references: tuple[str, ...]


@overload
def tool(function: Function, /) -> Tool: ...
@overload
def tool(**rules: Unpack[Rules]) -> Callable[[Function], Tool]: ...
def tool(function: Function | None = None, /, **rules: Any) -> Tool | Callable[[Function], Tool]:
    """Make a tool of a typed function; usable bare, and with keywords that state its rules.

    A parameter annotated `ToolContext` is handed the context and is not part of the schema. The function may be
    async. It returns text, data, or an outcome; what it raises becomes a failure that the model reads.

    Args:
        function: the function, where the decorator is used bare.
        **rules: fields of `ToolRules`; `predict`, `undo` and `reconcile` are the functions that do it. A tool
            that says nothing is irreversible and touches the network.

    Raises:
        ToolError: the declaration cannot work; says what to change.
    """
    if function is not None:
        return _declare(function, rules)
    return lambda function: _declare(function, rules)


class Runner:
    """Calls a declared function with arguments that fit it; importable by name from another process."""

    def __init__(self, function: Function, model: type[BaseModel], context: str | None) -> None:
        self._function, self._model, self._context = function, model, context
        self.target = f"{function.__module__}:{function.__qualname__}"

    def __call__(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """Return whatever the function returns."""
        values = self._model.model_validate(dict(arguments))
        given = {
            str(info.alias): getattr(values, field)
            for field, info in type(values).model_fields.items()
            if field in values.model_fields_set
        }
        if self._context is not None:
            given[self._context] = context
        result = self._function(**given)
        return asyncio.run(_watched(result, context)) if inspect.iscoroutine(result) else result


async def _watched(work: Coroutine[Any, Any, Any], context: ToolContext) -> Any:
    """Await `work`; cancel it when the context's flag or deadline says so."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait({task}, timeout=0.05)
        late = context.deadline is not None and time.monotonic() > context.deadline
        if not task.done() and (late or context.cancel.is_set()):
            task.cancel()
            await asyncio.wait({task}, timeout=1.0)
            raise TimeoutError("time is up" if late else "cancelled")
    return task.result()


def _declare(function: Function, rules: Mapping[str, Any]) -> Tool:
    if not inspect.isroutine(function):
        raise ToolError(f"@tool takes a function, not {type(function).__name__} {function!r}; decorate a def")
    name = rules.get("name") or function.__name__
    if not _NAME.fullmatch(name):
        raise ToolError(f"tool name {name!r} cannot be used; letters, digits, _ and - (at most 64), not a digit first")
    docs = read_docstring(function.__doc__)
    if not docs.description:
        raise ToolError(f"tool '{name}' has no docstring; its first paragraph is what the model reads, so write one")
    model, context = _arguments_model(name, function, docs)
    try:
        parameters = simplify(model.model_json_schema())
    except PydanticUserError as error:
        raise ToolError(f"tool '{name}' has a parameter that JSON cannot say: {_first_line(error)}") from error
    runner = Runner(function, model, context)
    spec = ToolSpec(
        name=name,
        description=docs.description,
        parameters=parameters,
        rules=rules_of(name, {key: value for key, value in rules.items() if key != "name"}, parameters),
    )
    if spec.rules.isolation == "worker" and ("<" in runner.target or function.__module__ == "__main__"):
        raise ToolError(f"tool '{name}' runs in a worker, which imports it by name: move it to the top of a module")
    return Tool(
        spec=spec,
        run=runner,
        validate=_Validator(spec, model),
        predict=_companion(rules.get("predict"), model),
        undo=_companion(rules.get("undo"), model),
        reconcile=rules.get("reconcile"),
    )


def rules_of(name: str, given: Mapping[str, Any], parameters: Mapping[str, Any]) -> ToolRules:
    """Return `given` keywords as rules that hold together.

    Raises:
        ToolError: an unknown rule, a value that does not fit, an argument that does not exist, a contradiction.
    """
    known = [item.name for item in fields(ToolRules)]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            raise ToolError(f"tool '{name}': unknown rule '{key}'; " + _mend(near, known))
    values = dict(given)
    for key, kind in (("effect", Effect), ("trust", Trust)):
        if key in values:
            values[key] = _member(name, key, kind, values[key])
    for key in ("predict", "undo", "reconcile"):
        if values.get(key) is True or not (values.get(key) is None or callable(values[key]) or values[key] is False):
            raise ToolError(f"tool '{name}': {key}= takes the function that does it, not {values[key]!r}")
        values[key] = bool(values.get(key))
    if values.get("effect") is Effect.PURE:
        values.setdefault("egress", False)
    for key in ("volatile", "sinks", "references"):
        if isinstance(values.get(key), str):
            raise ToolError(f"tool '{name}': {key}= takes a tuple of argument names; write ({values[key]!r},)")
    rules = replace(ToolRules(), **values)
    _check(name, rules, tuple(parameters.get("properties", {})))
    return rules


def _check(name: str, rules: ToolRules, arguments: tuple[str, ...]) -> None:
    if rules.effect is Effect.PURE and rules.egress:
        raise ToolError(f"tool '{name}' cannot be pure and touch the network; say effect='read', or egress=False")
    if rules.timeout_s <= 0 or rules.max_output_chars < 1:
        raise ToolError(f"tool '{name}': timeout_s and max_output_chars must be above 0")
    if rules.isolation not in ("process", "worker"):
        raise ToolError(f"tool '{name}': isolation={rules.isolation!r} is neither 'process' nor 'worker'")
    for key in ("volatile", "sinks", "references", "grounded"):
        for argument in getattr(rules, key):
            if argument not in arguments:
                near = difflib.get_close_matches(argument, arguments, 1, 0.5)
                raise ToolError(f"tool '{name}': {key} names '{argument}', no argument; " + _mend(near, arguments))
    for argument, source in rules.grounded.items():
        if source not in get_args(Grounding):
            known = ", ".join(get_args(Grounding))
            raise ToolError(f"tool '{name}': grounded[{argument!r}] is {source!r}; say one of {known}")


def _arguments_model(name: str, function: Function, docs: Docs) -> tuple[type[BaseModel], str | None]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ToolError(
            f"tool '{name}' has a type that cannot be found ({error}); import it at module level"
        ) from error
    context, members = None, {}
    signature = inspect.signature(function).parameters
    for number, parameter in enumerate(signature.values()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ToolError(f"tool '{name}': parameter '{parameter}' has no name a model can use; give each its own")
        if parameter.name not in hints:
            raise ToolError(f"tool '{name}': parameter '{parameter.name}' has no type; write {parameter.name}: str")
        if hints[parameter.name] is ToolContext:
            context = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        described = docs.arguments.get(parameter.name)
        more: dict[str, Any] = {"description": described} if described else {}
        members[f"field_{number}"] = (hints[parameter.name], Field(default, alias=parameter.name, **more))
    for argument in docs.arguments:
        if argument not in signature:
            near = difflib.get_close_matches(argument, signature, 1, 0.5)
            raise ToolError(
                f"tool '{name}': Args: describes '{argument}', no parameter; " + _mend(near, list(signature))
            )
    try:
        model = create_model(name, __config__=ConfigDict(extra="forbid"), **cast("dict[str, Any]", members))
    except PydanticUserError as error:
        raise ToolError(f"tool '{name}' has a parameter that JSON cannot say: {_first_line(error)}") from error
    return model, context


class _Validator:
    def __init__(self, spec: ToolSpec, model: type[BaseModel]) -> None:
        self._spec, self._model = spec, model

    def __call__(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            values = self._model.model_validate(dict(arguments))
        except ValidationError as error:
            raise ValueError(explain(error, self._spec)) from error
        return values.model_dump(mode="json", by_alias=True, exclude_unset=True)


def explain(error: ValidationError, spec: ToolSpec) -> str:
    """Return what is wrong with a call's arguments and what would be right, in one line."""
    known = list(spec.parameters.get("properties", {}))
    problems = []
    for item in error.errors(include_url=False)[:3]:
        where = ".".join(str(part) for part in item["loc"]) or "arguments"
        if item["type"] == "missing":
            problems.append(f"argument '{where}' is missing")
        elif item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, known, 1, 0.5)
            problems.append(f"there is no argument '{where}'" + (f", did you mean '{near[0]}'?" if near else ""))
        else:
            said = item["msg"][0].lower() + item["msg"][1:]
            problems.append(f"argument '{where}': {said}, not {str(item['input'])[:80]!r}")
    takes = ", ".join(name if name in spec.parameters.get("required", ()) else f"{name}?" for name in known)
    return f"{'; '.join(problems)}. {spec.name} takes ({takes})"


def _companion(function: Function | None, model: type[BaseModel]) -> Runner | None:
    if function is None:
        return None
    hints = get_type_hints(function)
    return Runner(function, model, next((name for name, hint in hints.items() if hint is ToolContext), None))


def _member(name: str, key: str, kind: type[Effect] | type[Trust], value: Any) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = [member.value for member in kind]
        near = difflib.get_close_matches(str(value), known, 1, 0.5)
        raise ToolError(f"tool '{name}': {key}={value!r} is unknown; " + _mend(near, known)) from None


def _mend(near: list[str], known: list[str] | tuple[str, ...]) -> str:
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known) or 'none'}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]

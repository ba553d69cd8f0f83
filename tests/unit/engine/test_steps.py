"""Steps on a random model: always well formed, distinct when branched, scored exactly, steered by the prior."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import BaseMessage

from agentkit.engine.dialects import plain
from agentkit.engine.llama import LlamaEngine, Model
from agentkit.engine.llama.context import Context, ContextOptions, Part
from agentkit.engine.llama.sampler import Sampler, log_softmax
from agentkit.errors import UsageError
from agentkit.messages import result_message, step_message, user_message
from agentkit.protocols import ArgumentsDelta, Reply, Request, Sampling
from agentkit.types import Done, Step, Task, ToolCall, ToolSpec

KINDS = ("calls", "final", "ask", "decline")


def spec(name: str, properties: dict[str, Any], required: list[str]) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=f"Do {name}.",
        parameters={"type": "object", "properties": properties, "required": required},
    )


CATALOGUE = (
    spec("calc", {"expression": {"type": "string", "maxLength": 12}}, ["expression"]),
    spec("light", {"room": {"enum": ["hall", "kitchen"]}, "on": {"type": "boolean"}}, ["room", "on"]),
    spec("pick", {"n": {"type": "integer", "minimum": 1, "maximum": 9}, "why": {"enum": ["a", "b"]}}, ["n"]),
    spec("move", {"to": {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 1, "maxItems": 3}}, ["to"]),
    spec("ping", {}, []),
    spec("date", {"day": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}}, ["day"]),
)


def user(text: str) -> BaseMessage:
    return user_message(Task.of(text))


def ask(engine: LlamaEngine, request: Request) -> Reply:
    *_, last = engine.stream(request)
    assert isinstance(last, Reply)
    return last


def fits(arguments: dict[str, Any], tool: ToolSpec) -> bool:
    """Whether the arguments fit, checked by hand and apart from the code under test."""
    properties = tool.parameters["properties"]
    if set(arguments) - set(properties) or set(tool.parameters["required"]) - set(arguments):
        return False
    checks = {
        "expression": lambda value: isinstance(value, str) and len(value) <= 12,
        "room": lambda value: value in ("hall", "kitchen"),
        "on": lambda value: isinstance(value, bool),
        "n": lambda value: isinstance(value, int) and 1 <= value <= 9,
        "why": lambda value: value in ("a", "b"),
        "to": lambda value: 1 <= len(value) <= 3 and set(value) <= {1, 2, 3},
        "day": lambda value: len(value) == 10 and value[4] == value[7] == "-" and value.replace("-", "").isdigit(),
    }
    ordered = [name for name in properties if name in arguments] == list(arguments)
    return ordered and all(checks[name](value) for name, value in arguments.items())


def test_every_step_is_well_formed(engine: LlamaEngine) -> None:
    rng = random.Random(7)
    whole = 0
    for seed in range(100):
        tools = tuple(rng.sample(CATALOGUE, rng.randint(1, len(CATALOGUE))))
        allow = frozenset(rng.sample(KINDS, rng.randint(1, 4))) | (frozenset({"calls"}) if seed % 2 else frozenset())
        request = Request(
            messages=[user(f"request {seed}")],
            tools=tools,
            allow=allow,
            sampling=Sampling(temperature=1.0, seed=seed),
            max_tokens=150,
        )
        reply = ask(engine, request)
        assert reply.step.kind in allow or reply.finish == "length"
        by_name = {tool.name: tool for tool in tools}
        for call in reply.step.calls:
            assert fits(dict(call.arguments), by_name[call.tool]), call
        if reply.finish == "stop":
            whole += 1
            assert reply.assurance == "enforced"
            assert reply.step.calls or reply.step.text
            assert reply.step.token_ids[-1] == plain.CONTROL_IDS["<end>"]
            assert reply.usage.forced + reply.usage.decoded == len(reply.step.token_ids)
        else:
            assert reply.assurance == "none"
    assert whole >= 20


def test_arguments_stream_as_the_json_they_become(engine: LlamaEngine) -> None:
    request = Request(messages=[user("x")], tools=CATALOGUE[1:2], allow=frozenset({"calls"}), max_tokens=900)
    *deltas, reply = engine.stream(request)
    assert isinstance(reply, Reply)
    assert reply.finish == "stop"
    for n, call in enumerate(reply.step.calls):
        text = "".join(d.text for d in deltas if isinstance(d, ArgumentsDelta) and d.index == n)
        assert text == json.dumps(dict(call.arguments), ensure_ascii=False)
    assert reply.usage.forced > reply.usage.decoded  # keys and punctuation cost no forward pass


def test_an_output_schema_is_held(engine: LlamaEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"enum": [1, 2]}, "ok": {"type": "boolean"}},
        "required": ["n", "ok"],
    }
    reply = ask(engine, Request(messages=[user("x")], output=schema, allow=frozenset({"final"})))
    assert reply.step.data == json.loads(reply.step.text)
    assert set(reply.step.data) == {"n", "ok"}


def candidates() -> list[Step]:
    calls = [
        ToolCall(id="call_0", tool="calc", arguments={"expression": "1 + 1"}),
        ToolCall(id="call_0", tool="light", arguments={"room": "hall", "on": True}),
    ]
    return [Step(kind="calls", calls=(call,)) for call in calls] + [Step(kind="final", text="it is 2")]


def test_a_score_is_the_sum_of_log_probabilities(engine: LlamaEngine) -> None:
    request = Request(messages=[user("add")], tools=CATALOGUE)
    shared = engine._loaded()
    prompt = shared.dialect.prompt(request)
    with Model(shared.key.path) as model:
        alone = Context(model, ContextOptions(tokens=2048, threads=1))
        for step, found in zip(candidates(), engine.score(request, candidates()), strict=True):
            tokens, total = shared.dialect.step(step, request), 0.0
            alone.keep_first(0, 0)
            whole = [*prompt, *tokens]
            for n in range(len(prompt), len(whole)):  # the prompt in one batch, then each token alone
                part = whole[alone.length(0) : n]
                ((row,),) = alone.decode([Part(0, part, [len(part) - 1])])
                total += float(log_softmax(row)[whole[n]])
            assert found.tokens == len(tokens)
            assert found.logprob == pytest.approx(
                total, rel=2**-10
            )  # half precision: kernels for one token and for many differ
        alone.close()


def test_the_prior_steers_the_choice_of_tool(engine: LlamaEngine) -> None:
    base = Request(messages=[user("do it")], tools=CATALOGUE, allow=frozenset({"calls"}), max_tokens=40)
    own = ask(engine, base).tool_logprobs
    assert set(own) == {tool.name for tool in CATALOGUE}
    assert np.exp(list(own.values())).sum() == pytest.approx(1.0)
    for tool in CATALOGUE:
        request = Request(
            messages=base.messages, tools=CATALOGUE, allow=base.allow, max_tokens=40, tool_prior={tool.name: 50.0}
        )
        *deltas, reply = engine.stream(request)
        first = next(d.tool for d in deltas if isinstance(d, ArgumentsDelta))
        assert first == tool.name
        assert isinstance(reply, Reply)
        assert reply.tool_logprobs == pytest.approx(own, abs=1e-3)  # the model's own, without the prior
    lone = ask(engine, Request(messages=base.messages, tools=CATALOGUE[1:2], allow=base.allow, max_tokens=40))
    assert lone.tool_logprobs == {"light": 0.0}


def test_branches_are_distinct_tools_first(engine: LlamaEngine) -> None:
    tools = CATALOGUE[1:4]
    request = Request(messages=[user("do it")], tools=tools, allow=frozenset({"calls", "ask"}), max_tokens=300)
    replies = engine.branch(request, 4)
    keys = [
        (r.step.kind, r.step.text, tuple((c.tool, json.dumps(dict(c.arguments))) for c in r.step.calls))
        for r in replies
    ]
    assert len(set(keys)) == len(keys) == 4
    starts = {r.step.calls[0].tool if r.step.calls else r.step.kind for r in replies}
    assert starts == {"light", "pick", "move", "ask"}
    greedy = ask(engine, request)
    assert greedy.step in [r.step for r in replies]


def test_branches_end_when_there_is_nothing_else(engine: LlamaEngine) -> None:
    output = {"enum": ["a", "b", "c"]}
    request = Request(messages=[user("x")], output=output, allow=frozenset({"final"}))
    replies = engine.branch(request, 10)
    assert sorted(r.step.data for r in replies) == ["a", "b", "c"]
    chances = [sum(t.logprob for t in r.logprobs) for r in replies]
    assert chances == sorted(chances, reverse=True)
    with pytest.raises(UsageError):
        engine.branch(request, 0)


def test_references_only_to_results_that_exist(engine: LlamaEngine) -> None:
    call = ToolCall(id="call_0", tool="calc", arguments={"expression": "1"})
    history = [
        user("x"),
        step_message(Step(kind="calls", calls=(call,))),
        result_message(call, Done(text="«30»"), number=1, spec=None),
    ]
    used = 0
    for seed in range(30):
        request = Request(
            messages=history,
            tools=CATALOGUE,
            allow=frozenset({"final"}),
            sampling=Sampling(temperature=2.0, seed=seed),
            max_tokens=120,
        )
        step = ask(engine, request).step
        references = [token for token in step.token_ids if 64 <= token < 80]
        assert set(references) <= {plain.CONTROL_IDS["<r1>"]}
        assert step.text.count("«30»") == len(references)
        used += bool(references)
    assert used


def test_sampling_is_seeded_and_bounded() -> None:
    logits = np.log(np.asarray([0.5, 0.25, 0.15, 0.1], np.float32))
    every = np.arange(4)

    def drawn(sampling: Sampling, times: int = 200) -> list[int]:
        sampler = Sampler(sampling)
        return [sampler.draw(sampler.weights(logits, every, [])) for _ in range(times)]

    assert set(drawn(Sampling())) == {0}
    assert drawn(Sampling(temperature=1, seed=3)) == drawn(Sampling(temperature=1, seed=3))
    assert drawn(Sampling(temperature=1, seed=3)) != drawn(Sampling(temperature=1, seed=4))
    assert set(drawn(Sampling(temperature=1))) == {0, 1, 2, 3}
    assert set(drawn(Sampling(temperature=1, top_k=2))) == {0, 1}
    assert set(drawn(Sampling(temperature=1, top_p=0.7))) == {0, 1}
    assert set(drawn(Sampling(temperature=1, min_p=0.28))) == {0, 1, 2}
    sampler = Sampler(Sampling(repeat_penalty=100.0))
    assert sampler.draw(sampler.weights(logits, every, [0])) == 1
    for wrong in (Sampling(temperature=-1), Sampling(top_p=0), Sampling(min_p=1), Sampling(top_k=-1)):
        with pytest.raises(UsageError):
            Sampler(wrong)


@pytest.mark.parametrize(
    "text", ["15% of 200", "hello (well)", "Zürich 🌍", '"q" \\ b', "x\ny", "", "  ll", "{}", "sum($1)"]
)
def test_the_grammar_forces_the_tokens_that_history_has(engine: LlamaEngine, text: str) -> None:
    shared = engine._loaded()
    shell = spec("shell", {"hello": {"type": "string"}, "n": {"type": "number"}}, ["hello", "n"])
    request = Request(messages=[user("x")], tools=[shell], allow=frozenset({"calls"}))
    call = ToolCall(id="call_0", tool="shell", arguments={"hello": text, "n": -3.5})
    wanted = shared.dialect.step(Step(kind="calls", calls=(call,)), request)[:-1]
    constraint = shared.grammars.constraint(shared.dialect.grammar(request), shared.dialect.schemas(request))
    taken: list[int] = []
    forced = 0
    while len(taken) < len(wanted):
        tokens = constraint.forced()
        forced += len(tokens)
        if not tokens:
            assert constraint.mask()[wanted[len(taken)]]
            tokens = [wanted[len(taken)]]
        constraint.take(tokens)
        taken += tokens
    assert taken == wanted
    assert forced >= 15  # tag, keys and punctuation

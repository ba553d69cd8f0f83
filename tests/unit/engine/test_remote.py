"""A remote engine against a server on loopback that does everything right, and then everything wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.engine.remote import RemoteEngine, api_key
from agentkit.errors import (
    AgentkitError,
    Cancelled,
    CannotEnforce,
    ConfigError,
    ContextFull,
    DeadlineExceeded,
    EngineError,
    ModelNotFound,
    ProviderError,
    UnsupportedPart,
)
from agentkit.messages import nudge_message
from agentkit.protocols import ArgumentsDelta, Delta, Reply, Request, Sampling, TextDelta, ThinkingDelta
from agentkit.testing import ADD, ChatServer, Raw
from agentkit.types import Effect, ToolRules, ToolSpec

Body = Mapping[str, Any]
TEXT = ({"content": "It is "}, {"content": "five."})


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(lambda body: TEXT) as server:
        yield server


@pytest.fixture
def engine(server: ChatServer) -> Iterator[RemoteEngine]:
    engine = RemoteEngine(server.url, timeout_s=5)
    yield engine
    engine.close()


def request(**changes: object) -> Request:
    return Request(**{"messages": [HumanMessage("2 + 3?")], "tools": [ADD], **changes})  # type: ignore[arg-type]


def ask(engine: RemoteEngine, **changes: object) -> tuple[list[Delta], Reply]:
    deltas = list(engine.stream(request(**changes)))
    assert isinstance(deltas[-1], Reply)
    return deltas, deltas[-1]


def call(arguments: str, name: str = "add", call_id: str = "c1") -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "id": call_id, "function": {"name": name, "arguments": arguments}}]}


def in_turn(*answers: Any) -> Any:
    """Return an `answer` that gives these one after another."""
    left = iter(answers)
    return lambda body: next(left)


def sse(*events: Any, end: bytes = b"data: [DONE]\n\n") -> Raw:
    data = b"".join(b"data: " + (e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n\n" for e in events)
    return Raw(content_type="text/event-stream", body=data + end)


def choice(delta: Any, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": delta, "finish_reason": finish}]}


# ── good ─────────────────────────────────────────────────────────────────────────────────────────


def test_text_streams_and_usage_is_reported(server: ChatServer, engine: RemoteEngine) -> None:
    (first, second, _), reply = ask(engine)
    assert (first, second) == (TextDelta(text="It is "), TextDelta(text="five."))
    assert (reply.step.kind, reply.step.text, reply.finish, reply.assurance) == (
        "final",
        "It is five.",
        "stop",
        "validated",
    )
    assert (reply.usage.prompt, reply.usage.decoded) == (20, 5)
    assert reply.usage.seconds > 0
    [body] = server.requests
    assert (body["model"], body["stream"], body["max_tokens"], body["temperature"]) == ("test-model", True, 1024, 0.0)
    assert body["tools"][0]["function"]["name"] == "add"
    assert body["tool_choice"] == "auto"


def test_capabilities_are_what_the_server_says(server: ChatServer, engine: RemoteEngine) -> None:
    capabilities = engine.capabilities
    assert (capabilities.model, capabilities.context, capabilities.constrained) == ("test-model", 4096, False)
    named = RemoteEngine(server.url, model="another", context=512)
    assert (named.capabilities.model, named.capabilities.context) == ("another", 512)
    assert named.capabilities.fingerprint != capabilities.fingerprint
    named.close()


def test_a_call_arrives_in_pieces_and_is_validated(server: ChatServer, engine: RemoteEngine) -> None:
    pieces = [
        {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "add", "arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ': 2, "b": 3}'}}]},
        {"tool_calls": [{"index": 1, "id": "c1", "function": {"name": "add", "arguments": '{"a": 1, "b": 1}'}}]},
    ]
    server.answer = lambda body: pieces
    deltas, reply = ask(engine)
    assert [dict(each.arguments) for each in reply.step.calls] == [{"a": 2, "b": 3}, {"a": 1, "b": 1}]
    assert len({each.id for each in reply.step.calls}) == 2
    spoken = "".join(d.text for d in deltas if isinstance(d, ArgumentsDelta) and d.index == 0)
    assert json.loads(spoken) == {"a": 2, "b": 3}


def test_servers_that_number_every_call_zero_are_understood(server: ChatServer, engine: RemoteEngine) -> None:
    server.answer = lambda body: [call('{"a": 2, "b": 3}', call_id="x"), call('{"a": 4, "b": 5}', call_id="y")]
    _, reply = ask(engine)
    assert [each.arguments["a"] for each in reply.step.calls] == [2, 4]


def test_thinking_is_kept_apart(server: ChatServer, engine: RemoteEngine) -> None:
    server.answer = lambda body: [{"reasoning_content": "Hm."}, *TEXT]
    deltas, reply = ask(engine)
    assert deltas[0] == ThinkingDelta(text="Hm.")
    assert (reply.step.thinking, reply.step.text) == ("Hm.", "It is five.")


def test_a_server_that_does_not_stream_is_understood(server: ChatServer, engine: RemoteEngine) -> None:
    message = {"content": "Five.", "tool_calls": None}
    whole = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}
    server.answer = lambda body: Raw(body=json.dumps(whole).encode())
    deltas, reply = ask(engine)
    assert deltas[0] == TextDelta(text="Five.")
    assert (reply.step.text, reply.usage.prompt, reply.usage.decoded) == ("Five.", 1, 2)


def test_an_output_schema_is_asked_for_and_checked(server: ChatServer, engine: RemoteEngine) -> None:
    server.answer = lambda body: [{"content": '```json\n{"n": '}, {"content": "5}\n```"}]
    deltas, reply = ask(engine, tools=(), output={"type": "object", "required": ["n"]})
    assert (reply.step.data, reply.step.text) == ({"n": 5}, '{"n": 5}')
    assert [d.text for d in deltas if isinstance(d, TextDelta)] == ['{"n": 5}']
    assert server.requests[0]["response_format"]["json_schema"]["schema"] == {"type": "object", "required": ["n"]}


def test_sampling_and_the_kinds_allowed_are_passed_on(server: ChatServer, engine: RemoteEngine) -> None:
    _, reply = ask(engine, allow=frozenset({"ask"}), sampling=Sampling(temperature=0.5, top_p=0.9, seed=4))
    body = server.requests[0]
    assert (body["temperature"], body["top_p"], body["seed"], body["tool_choice"]) == (0.5, 0.9, 4, "none")
    assert reply.step.kind == "ask"


def test_a_conversation_is_put_as_servers_take_it(server: ChatServer, engine: RemoteEngine) -> None:
    turn = AIMessage("", tool_calls=[{"id": "call_0", "name": "add", "args": {"a": 1, "b": "ä"}}])
    result = ToolMessage("3", tool_call_id="call_0")
    messages = [SystemMessage("Be brief."), SystemMessage("Truly."), HumanMessage("hm \ud800")]
    ask(engine, messages=[*messages, turn, result, turn, result, turn, result, nudge_message("Try another.")])
    sent = server.requests[0]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", *["assistant", "tool"] * 3, "user"]
    assert sent[0]["content"] == "Be brief.\n\nTruly."
    ids = [message["tool_calls"][0]["id"] for message in sent if "tool_calls" in message]
    assert len(set(ids)) == 3
    assert [message["tool_call_id"] for message in sent if message["role"] == "tool"] == ids
    assert sent[-1]["content"] == "(Note, not from the user) Try another."
    assert engine.count(request()) < engine.count(request(messages=messages))


def test_a_reference_fits_any_type(server: ChatServer, engine: RemoteEngine) -> None:
    rules = ToolRules(effect=Effect.PURE, egress=False, references=("a",))
    spec = ToolSpec(name="add", description="Add.", parameters=ADD.parameters, rules=rules)
    server.answer = lambda body: [call('{"a": "$1", "b": 3}')]
    assert ask(engine, tools=[spec])[1].step.calls[0].arguments == {"a": "$1", "b": 3}
    server.answer = lambda body: [call('{"a": 1, "b": "$1"}')]
    with pytest.raises(ProviderError, match="is not of type 'integer'"):
        ask(engine, tools=[spec])


# ── one repair ───────────────────────────────────────────────────────────────────────────────────

WRONG = {
    "invalid JSON": ([call('{"a": 2,')], "not valid JSON"),
    "not JSON's numbers": ([call('{"a": NaN, "b": 3}')], "NaN is not JSON"),
    "not an object": ([call("[2, 3]")], "must be a JSON object"),
    "wrong type": ([call('{"a": "two", "b": 3}')], "/a: 'two' is not of type 'integer'"),
    "missing argument": ([call('{"a": 2}')], "'b' is a required property"),
    "unknown tool": ([call("{}", name="ad")], "there is no tool 'ad'; did you mean 'add'?"),
    "nothing": ([], "the reply was empty"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_unusable_reply_is_repaired_once(kind: str, server: ChatServer, engine: RemoteEngine) -> None:
    wrong, words = WRONG[kind]
    server.answer = in_turn(wrong, [call('{"a": 2, "b": 3}')])
    _, reply = ask(engine)
    assert (reply.step.calls[0].arguments, reply.assurance) == ({"a": 2, "b": 3}, "validated")
    assert reply.usage.prompt == 40  # of both
    complaint = server.requests[1]["messages"]
    assert [message["role"] for message in complaint] == ["user", "assistant", "user"]
    assert words in complaint[2]["content"]
    assert "tool_calls" not in complaint[1]  # the faulty call is words now


@pytest.mark.parametrize("kind", WRONG)
def test_a_second_unusable_reply_is_a_typed_error(kind: str, server: ChatServer, engine: RemoteEngine) -> None:
    wrong, words = WRONG[kind]
    server.answer = lambda body: wrong
    with pytest.raises(ProviderError) as caught:
        ask(engine)
    assert words in str(caught.value)
    assert len(server.requests) == 2


def test_words_where_a_call_is_due_are_repaired(server: ChatServer, engine: RemoteEngine) -> None:
    server.answer = in_turn(TEXT, [call('{"a": 2, "b": 3}')])
    deltas, reply = ask(engine, allow=frozenset({"calls"}))
    assert reply.step.kind == "calls"
    assert not any(isinstance(delta, TextDelta) for delta in deltas)
    assert server.requests[0]["tool_choice"] == "required"


def test_what_was_streamed_before_a_repair_is_part_of_the_text(server: ChatServer, engine: RemoteEngine) -> None:
    server.answer = in_turn([{"content": "Let me see."}, call("{")], [{"content": "Five."}])
    deltas, reply = ask(engine)
    assert reply.step.text == "Let me see.\nFive." == "".join(d.text for d in deltas if isinstance(d, TextDelta))


def test_a_reply_cut_in_the_middle_of_a_call_is_not_repaired(server: ChatServer, engine: RemoteEngine) -> None:
    server.answer = lambda body: sse(choice(call('{"a": 2')), choice({}, "length"))
    with pytest.raises(EngineError, match=r"cut at 7 tokens.*raise max_tokens"):
        ask(engine, max_tokens=7)
    assert len(server.requests) == 1


def test_a_text_cut_by_max_tokens_says_so(server: ChatServer, engine: RemoteEngine) -> None:
    server.answer = lambda body: sse(choice({"content": "It is"}), choice({}, "length"))
    _, reply = ask(engine)
    assert (reply.step.text, reply.finish) == ("It is", "length")


# ── bad servers ──────────────────────────────────────────────────────────────────────────────────

PAGE = b"<!doctype html><html>Welcome</html>"
BAD: dict[str, tuple[Raw, str]] = {
    "500": (Raw(status=500, body=b'{"error": "out of\n memory"}'), 'HTTP 500: {"error": "out of memory"}; see the'),
    "429": (Raw(status=429, body=b"slow down"), "HTTP 429: slow down; wait, and try again"),
    "401": (Raw(status=401, body=b"who?"), "set OPENAI_API_KEY"),
    "404": (Raw(status=404, content_type="text/html", body=PAGE), "HTTP 404"),
    "400": (Raw(status=400, body=b"x" * 100_000), "x" * 200 + "; check address"),
    "redirect": (Raw(status=302, body=b""), "HTTP 302: (no text)"),
    "html": (Raw(content_type="text/html; charset=utf-8", body=PAGE), "a web page; the address should end in /v1"),
    "truncated stream": (sse(choice({"content": "It i"}), end=b""), "broke off in the middle"),
    "truncated event": (sse(choice({"content": "It"}), end=b'data: {"choices": [{"del'), "unreadable"),
    "empty": (sse(end=b""), "broke off in the middle"),
    "done at once": (sse(), "broke off in the middle"),
    "not JSON": (sse(b"{nope"), "unreadable ('{nope')"),
    "a list": (sse([1, 2]), "unreadable"),
    "odd choices": (sse({"choices": {"a": 1}}), "unreadable"),
    "odd delta": (sse(choice("text")), "unreadable"),
    "odd calls": (sse(choice({"tool_calls": [3]})), "unreadable"),
    "odd index": (sse(choice({"tool_calls": [{"index": [1], "function": {"name": "a"}}]})), "unreadable"),
    "error in the stream": (sse(choice({"content": "a"}), {"error": {"message": "GPU lost"}}), "GPU lost"),
    "content filter": (sse(choice({"content": "a"}, "content_filter")), "content filter"),
    "bytes": (Raw(content_type="application/json", body=b"\xff\xfe\x00"), "unreadable"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_answer_is_a_provider_error_of_one_line(kind: str, server: ChatServer, engine: RemoteEngine) -> None:
    raw, words = BAD[kind]
    server.answer = lambda body: raw
    with pytest.raises(ProviderError) as caught:
        ask(engine)
    message = str(caught.value)
    assert words in message
    assert message.startswith(server.url)
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    "text",
    [
        '{"error": {"code": 400, "type": "exceed_context_size_error"}}',
        "This model's maximum context length is 4096 tokens.",
    ],
)
def test_a_prompt_too_long_is_context_full(text: str, server: ChatServer, engine: RemoteEngine) -> None:
    server.answer = lambda body: Raw(status=400, body=text.encode())
    with pytest.raises(ContextFull, match="does not fit"):
        ask(engine)


def test_a_server_that_is_not_there_and_no_address_at_all() -> None:
    with pytest.raises(ProviderError, match=r"cannot be reached.*is the server running"):
        ask(RemoteEngine("http://127.0.0.1:9/v1"))
    with pytest.raises(ModelNotFound, match="not an address"):
        RemoteEngine("http://host:port/v1")


@pytest.mark.parametrize(
    "models", [Raw(body=b"{}"), Raw(content_type="text/html", body=PAGE), Raw(body=b'{"data": []}'), Raw(status=404)]
)
def test_without_a_model_list_a_name_must_be_given(models: Raw, server: ChatServer, engine: RemoteEngine) -> None:
    server.models = models
    with pytest.raises(ProviderError):
        ask(engine)
    named = RemoteEngine(server.url, model="mine")
    assert ask(named)[1].step.text == "It is five."
    assert named.capabilities.context == 8192
    named.close()


# ── cancel, deadline, silence ────────────────────────────────────────────────────────────────────


@pytest.fixture
def silent(server: ChatServer) -> Iterator[ChatServer]:
    """A server that says a word and then nothing for a long time."""
    enough = threading.Event()

    def answer(body: Body) -> Iterator[dict[str, Any]]:
        yield {"content": "Well"}
        enough.wait(20)

    server.answer = answer
    yield server
    enough.set()


def test_cancel_is_heard_while_the_server_is_silent(silent: ChatServer, engine: RemoteEngine) -> None:
    flag, began = threading.Event(), time.monotonic()
    threading.Timer(0.2, flag.set).start()
    with pytest.raises(Cancelled):
        ask(engine, cancel=flag)
    assert time.monotonic() - began < 3


def test_the_deadline_holds_while_the_server_is_silent(silent: ChatServer, engine: RemoteEngine) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        ask(engine, deadline=began + 0.2)
    assert time.monotonic() - began < 3


def test_a_silent_server_is_given_up(silent: ChatServer) -> None:
    engine = RemoteEngine(silent.url, timeout_s=0.3)
    with pytest.raises(ProviderError, match=r"silent for 0.3 s; raise engine.timeout_s"):
        ask(engine)
    engine.close()


# ── what is refused, and secrets ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "changes",
    [{"logprobs": 2}, {"tool_prior": {"add": 1.0}}, {"adapter": "a"}, {"sampling": Sampling(top_k=4)},
     {"sampling": Sampling(min_p=0.1)}, {"sampling": Sampling(repeat_penalty=1.1)}],
)  # fmt: skip
def test_what_a_server_cannot_hold_is_refused(
    changes: dict[str, Any], server: ChatServer, engine: RemoteEngine
) -> None:
    with pytest.raises(CannotEnforce):
        ask(engine, **changes)
    assert server.requests == []


def test_a_picture_and_a_schema_that_is_none_are_refused(engine: RemoteEngine) -> None:
    with pytest.raises(UnsupportedPart):
        ask(engine, messages=[HumanMessage([{"type": "image", "url": "x"}])])
    with pytest.raises(CannotEnforce, match="not a JSON Schema"):
        ask(engine, output={"type": "wombat"})


def test_a_closed_engine_says_so(engine: RemoteEngine) -> None:
    engine.close()
    with pytest.raises(EngineError, match="has been closed"):
        ask(engine)


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-file\n")
    assert api_key({"OPENAI_API_KEY": " sk-env "}) == "sk-env"
    assert api_key({"OPENAI_API_KEY_FILE": str(tmp_path / "key")}) == "sk-file"
    assert api_key({}) is None
    with pytest.raises(ConfigError, match="OPENAI_API_KEY_FILE"):
        api_key({"OPENAI_API_KEY_FILE": str(tmp_path / "missing")})


def test_the_key_is_sent_and_never_shown(server: ChatServer) -> None:
    engine = RemoteEngine(server.url, key="sk-secret")
    ask(engine)
    assert server.headers[0]["Authorization"] == "Bearer sk-secret"
    server.answer = lambda body: Raw(status=401, body=b"the key sk-secret is not known")
    with pytest.raises(ProviderError, match=r"the key \*\*\* is not known"):
        ask(engine)
    engine.close()
    with pytest.raises(ConfigError) as caught:
        RemoteEngine(server.url, key="sk-se\ncret")
    assert "cret" not in str(caught.value)


def test_the_key_of_the_environment_does_not_go_out_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    sent = [
        RemoteEngine(url)._key for url in ("http://example.org/v1", "https://example.org/v1", "http://localhost/v1")
    ]
    assert sent == [None, "sk-env", "sk-env"]


def test_every_error_here_is_ours() -> None:
    assert issubclass(ProviderError, AgentkitError)

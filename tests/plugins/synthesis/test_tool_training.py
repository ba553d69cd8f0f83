"""What training sees of a tool-use row is what `plain/1` writes for the same conversation, token for token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")

from agentkit import jobs  # noqa: E402
from agentkit.engine.dialects import plain  # noqa: E402
from agentkit.types import Step, ToolSpec  # noqa: E402
from agentkit_synthesis.dataset.rows import Rejected  # noqa: E402
from agentkit_synthesis.tooluse import source  # noqa: E402
from agentkit_synthesis.tooluse.references import spelled_out, with_references  # noqa: E402
from agentkit_synthesis.tooluse.rows import make  # noqa: E402
from agentkit_training.finetune.jobs import SFT  # noqa: E402
from agentkit_training.llama import Llama, LlamaConfig  # noqa: E402
from agentkit_training.sprout_hf import WEIGHTS, sprout_folder, write_folder  # noqa: E402
from agentkit_training.tokenizer import TextTokenizer  # noqa: E402

OWN = TextTokenizer.load(WEIGHTS / "tokenizer.json")
SHAPE = LlamaConfig(width=32, layers=1, heads=2, kv_heads=1, hidden=64, context=1024, rotary_pairs=4)


@pytest.fixture(scope="module")
def rows() -> list[Mapping[str, Any]]:
    made = (make({}, 5, index) for index in range(60))
    return [row for row in made if not isinstance(row, Rejected)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pieces_of(row: Mapping[str, Any]) -> list[plain.Piece]:
    """Return the row as the dialect's own functions write it."""
    functions = [tool["function"] for tool in row["tools"]]
    specs = [
        ToolSpec(name=one["name"], description=one["description"], parameters=one["parameters"]) for one in functions
    ]
    tags = {spec.name: number for number, spec in enumerate(specs)}
    messages = list(row["messages"])
    made = plain.begin()
    if messages[0]["role"] == "system":
        made += plain.system(messages.pop(0)["content"])
    made += plain.tools(specs)
    number = 0
    for message in messages:
        match message["role"]:
            case "user":
                made += plain.user(message["content"])
            case "tool":
                number += 1
                failed, trusted = message.get("status") == "error", message.get("trust") == "trusted"
                text = message["content"].removeprefix("Error: ") if failed else message["content"]
                made += plain.result(number, text, failed=failed, untrusted=not trusted)
            case _:
                made += plain.ask_for_step() + plain.step(_step(message), tags)
    return made


def _step(message: Mapping[str, Any]) -> Step:
    calls = [call["function"] for call in message.get("tool_calls", ())]
    if calls:
        return Step(
            kind="calls", calls=tuple(plain.call_of(n, one["name"], one["arguments"]) for n, one in enumerate(calls))
        )
    return Step(kind=message.get("kind", "final"), text=re.sub(r"<(r\d+)>", r"⟦\1⟧", message["content"]))


def tokens(pieces: Sequence[plain.Piece]) -> list[int]:
    """Return the ids; texts next to each other are one text, as in a template."""
    found: list[int] = []
    text = ""
    for piece in [*pieces, plain.control("end")]:
        if not piece.control:
            text += piece.text
            continue
        found += OWN.encode(text) if text else []
        found.append(plain.CONTROL_IDS[piece.text])
        text = ""
    return found[:-1]


def test_the_template_writes_the_tokens_of_the_dialect(rows: list[Mapping[str, Any]]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(sprout_folder())
    kinds = set()
    for row in rows:
        found = tokenizer.apply_chat_template(row["messages"], tools=row["tools"], return_dict=False)
        assert list(found) == tokens(pieces_of(row)), row["id"]
        kinds |= {message.get("kind", message.get("status", message["role"])) for message in row["messages"]}
    assert {"ask", "decline", "error", "tool", "system"} <= kinds  # all of it was there to be compared


def test_the_trainer_is_handed_those_tokens_and_learns_from_the_steps_alone(
    rows: list[Mapping[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = write_folder(Llama(SHAPE).state_dict(), OWN, tmp_path / "model", SHAPE)
    data = tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:20]))
    seen: list[Any] = []
    inner = trl.SFTTrainer.train

    def watched(self: Any, *args: Any, **more: Any) -> Any:
        seen.extend(self.train_dataset)
        return inner(self, *args, **more)

    monkeypatch.setattr(trl.SFTTrainer, "train", watched)
    params = {
        "model": str(model),
        "data": str(data),
        "out": str(tmp_path / "out"),
        "steps": 2,
        "batch": 2,
        "threads": 1,
        "held_out": 0,
    }
    done = jobs.run(SFT, params, run_dir=tmp_path / "run")
    assert done.status == "ok", done.error
    assert [list(one["input_ids"]) for one in seen] == [tokens(pieces_of(row)) for row in rows[:20]]
    for one in seen:
        learned = [token for token, label in zip(one["input_ids"], one["labels"], strict=True) if label != -100]
        given = {plain.CONTROL_IDS[f"<{name}>"] for name in ("user", "tools", "result", "untrusted", "error", "system")}
        assert learned
        assert not given & set(learned)


def test_quoted_results_are_one_token_and_mean_the_same(rows: list[Mapping[str, Any]]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(sprout_folder())
    options = {"from": "calculator", "tools": ["calculator"], "errors": 0.1, "allow_effects": False, "timeout_s": 5.0}
    sums = [source.make(options, 0, index) for index in range(25)]
    quoting = 0
    for row in [*rows, *(one for one in sums if not isinstance(one, Rejected))]:
        quoted = with_references(row)
        assert spelled_out(quoted) == row
        assert source.verify(quoted) == []
        found = tokenizer.apply_chat_template(quoted["messages"], tools=quoted["tools"], return_dict=False)
        assert list(found) == tokens(pieces_of(quoted))
        quoting += quoted != row
    assert quoting > 20
    assert source.make({**options, "references": True}, 0, 0) == with_references(sums[0])


def test_templates_of_other_models_show_every_call(rows: list[Mapping[str, Any]]) -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from tests.unit.engine.conftest import HERMES_TEMPLATE

    environment = ImmutableSandboxedEnvironment()
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(HERMES_TEMPLATE)
    for row in rows:
        text = template.render(messages=row["messages"], tools=row["tools"], bos_token="", add_generation_prompt=False)
        for message in row["messages"]:
            assert message["content"].strip() in text
            for call in message.get("tool_calls", ()):
                assert json.dumps(call["function"]["arguments"], ensure_ascii=False) in text

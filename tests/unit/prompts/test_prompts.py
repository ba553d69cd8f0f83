"""Prompt files: found, checked, rendered."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit.errors import PromptError
from agentkit.prompts import load, names, parse

GOLDEN = Path(__file__).parents[2] / "data" / "prompts"
INPUTS = {"wrap_up": {"reason": "the limit of 24 model calls is used up"}}


def prompt(
    inputs: str = '["name"]', text: str = "Hello {{ name }}!", head: str = 'version = 1\ndescription = "d"'
) -> str:
    return f"+++\n{head}\ninputs = {inputs}\n+++\n{text}\n"


@pytest.mark.parametrize("name", ["system", "wrap_up"])
def test_our_prompts_render_as_on_record(name: str) -> None:
    """A change of a prompt is a change of behaviour: raise its version and renew the record on purpose."""
    found = load(name, folders=())
    record = f"{name} version {found.version}\n\n{found.render(**INPUTS.get(name, {}))}\n"
    assert record == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_every_installed_prompt_loads() -> None:
    assert {"system", "wrap_up"} <= set(names())
    assert all(load(name).text for name in names())


def test_a_prompt_is_rendered_with_its_inputs() -> None:
    found = parse("hello", prompt(), "hello.md")
    assert found.render(name="Ann & <Bob>") == "Hello Ann & <Bob>!"
    assert (found.name, found.version, found.inputs, found.origin) == ("hello", 1, ("name",), "hello.md")
    assert len(found.digest) == 12
    assert found.digest != parse("hello", prompt(text="Hi {{ name }}"), "hello.md").digest


@pytest.mark.parametrize(
    ("inputs", "problem"), [({}, "needs name"), ({"name": 1, "nam": 2}, "takes no nam"), ({"x": 1}, "needs name")]
)
def test_inputs_are_neither_forgotten_nor_invented(inputs: dict[str, object], problem: str) -> None:
    with pytest.raises(PromptError, match=f"prompt 'hello' {problem}.*its inputs are: name"):
        parse("hello", prompt(), "hello.md").render(**inputs)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("Hello", "begins with a TOML head"),
        (prompt(text="Hello {{ nmae }}"), "'nmae' is used and not declared; 'name' is declared and not used"),
        (prompt(inputs="[]"), "'name' is used and not declared"),
        (prompt(text="{% if %}"), "the template does not parse"),
        (prompt(inputs="name"), "not valid TOML"),
        (prompt(inputs='"name"'), "inputs is a list of names"),
        (prompt(inputs="['a b']"), "inputs is a list of names"),
        (prompt(head='description = "d"'), "look at: version"),
        (prompt(head='version = 1\ndescription = "d"\nextra = 1'), "look at: extra"),
        (prompt(head='version = "1"\ndescription = "d"'), "version is a number"),
        (prompt(head='version = 0\ndescription = "d"'), "version is a number"),
        (prompt(head='version = true\ndescription = "d"'), "version is a number"),
    ],
)
def test_a_malformed_prompt_says_what_to_mend(source: str, problem: str) -> None:
    with pytest.raises(PromptError, match=f"^over/hello.md: .*{problem}"):
        parse("hello", source, "over/hello.md")


def test_windows_line_ends_and_a_byte_order_mark_are_no_matter() -> None:
    assert parse("hello", "\ufeff" + prompt().replace("\n", "\r\n"), "x").render(name="you") == "Hello you!"


def test_a_file_of_the_user_goes_before_the_installed_one(agentkit_home: Path) -> None:
    folder = agentkit_home / "prompts"
    folder.mkdir(parents=True)
    (folder / "wrap_up.md").write_text(prompt('["reason"]', "Stop, for {{ reason }}."), encoding="utf-8")
    found = load("wrap_up")
    assert found.render(reason="lack of time") == "Stop, for lack of time."
    assert found.origin == str(folder / "wrap_up.md")
    assert load("system").origin == "default/system.md"


def test_a_prompt_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text(prompt(), encoding="utf-8")
    with pytest.raises(PromptError, match="there is no prompt 'ours'; there are: mine, system"):
        load("ours", folders=[tmp_path])
    with pytest.raises(PromptError, match="only lower-case letters"):
        load("../secrets")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromptError, match=r"bad\.md: cannot be read as UTF-8"):
        load("bad", folders=[tmp_path])


def test_a_template_cannot_reach_into_python() -> None:
    found = parse("evil", prompt(text="{{ name.__class__.__mro__ }}"), "evil.md")
    with pytest.raises(PromptError, match="cannot be rendered"):
        found.render(name="x")

"""The documentation names everything there is, nothing that is not, and its code runs.

A Python block is run in an empty folder. What stands before it in HTML comments is not shown to readers:
`<!-- script: [...] -->` holds the steps of a scripted model that takes the place of the default one, and
`<!-- files: {...} -->` the files that are there. A `text` block right after it is what it must print.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from agentkit import StopReason, config, errors
from agentkit.cli.group import cli
from agentkit.config import Settings
from agentkit.events import EVENT_TYPES
from agentkit.extensions import load_tools

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"(?P<before>(?:<!--.*?-->\s*)*)^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"<!-- (script|files): (.*?) -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    place: str
    language: str
    code: str
    notes: dict[str, Any]
    prints: str | None  # what a `text` block right after it says


def blocks(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page) if block.language == language]


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    for n, match in enumerate(found):
        after = found[n + 1] if n + 1 < len(found) else None
        follows = after is not None and after["language"] == "text" and not text[match.end() : after.start()].strip()
        yield Block(
            place=f"{page.relative_to(ROOT)}:{text[: match.start('code')].count(chr(10))}",
            language=match["language"],
            code=match["code"],
            notes={name: json.loads(value) for name, value in COMMENT.findall(match["before"])},
            prints=after["code"] if after is not None and follows else None,
        )


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1] if path else None)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))


COMMANDS = dict(commands())


def test_command_line_page_is_what_the_commands_say() -> None:
    render = runpy.run_path(str(ROOT / "scripts" / "render_cli.py"))["render"]
    assert render() == page("cli.md"), "run: python scripts/render_cli.py"


@pytest.mark.parametrize("path", [path for path in COMMANDS if path], ids=" ".join)
def test_command_is_documented_with_its_options(path: tuple[str, ...]) -> None:
    text = page("cli.md")
    assert f"`agentkit {' '.join(path)}" in text
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts if option.startswith("--")}
    assert [option for option in sorted(options) if not re.search(rf"`[^`]*{option}\b", text)] == []


@pytest.mark.parametrize("path", list(COMMANDS), ids=lambda path: " ".join(path) or "agentkit")
def test_command_says_what_it_does(path: tuple[str, ...]) -> None:
    assert COMMANDS[path].help
    options = [parameter for parameter in COMMANDS[path].params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help and not option.hidden] == []


def shown(value: Any) -> str:
    """Return a setting's value as the table in settings.md shows it."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(map(str, value)) or "none"
        case _:
            return str(value) or '""'


@pytest.mark.parametrize("key", config.known_keys())
def test_setting_is_documented_with_its_default_and_variable(key: str) -> None:
    short = [name for name, target in config.ALIASES.items() if target == key]
    name = config.ENV_PREFIX + (short[0] if short else key.upper().replace(".", "__"))
    row = f"| `{key}` | `{shown(config.values(Settings())[key])}` | `{name}` |"
    assert row in page("settings.md")


@pytest.mark.parametrize("event", EVENT_TYPES)
def test_event_is_documented(event: str) -> None:
    assert f"| `{event}` |" in page("events.md")


@pytest.mark.parametrize("reason", list(StopReason))
def test_end_of_a_run_is_documented_with_its_exit_code(reason: StopReason) -> None:
    assert f"| {reason.exit_code} | `{reason.value}` |" in page("exit-codes.md")


def test_every_exit_code_of_an_error_is_documented() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    documented = {int(code) for code in re.findall(r"^\| (\d+)", page("exit-codes.md"), re.MULTILINE)}
    assert sorted({kind.exit_code for kind in kinds} - documented) == []  # type: ignore[attr-defined]


BUNDLED, BROKEN = load_tools(Settings())


def test_every_bundled_plugin_gives_its_tools() -> None:
    assert [str(item.error) for item in BROKEN] == []
    assert len(BUNDLED) >= 8


@pytest.mark.parametrize("name", [tool.name for tool in BUNDLED])
def test_bundled_tool_is_documented(name: str) -> None:
    assert f"| `{name}` |" in page("tools.md")


def test_no_setting_that_does_not_exist_is_mentioned() -> None:
    sections = "|".join(["engine", "run", "policy", "store", "extensions"])
    known = {*config.known_keys()}
    mentioned = {key for text in PAGES for key in re.findall(rf"`((?:{sections})\.[a-z_]+)`", text.read_text("utf-8"))}
    assert sorted(mentioned - known) == []


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.place)
def test_python_block_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name, text in block.notes.get("files", {}).items():
        (folder / name).write_text(text, encoding="utf-8")
    if "script" in block.notes:
        script = tmp_path / "script.json"
        script.write_text(json.dumps(block.notes["script"]), encoding="utf-8")
        monkeypatch.setenv("AGENTKIT_MODEL", f"scripted:{script}")
    exec(compile(block.code, block.place, "exec"), {"__name__": "__main__"})
    if block.prints is not None:
        assert capsys.readouterr().out == block.prints


def command_lines() -> list[tuple[str, str]]:
    found = []
    for block in blocks("sh"):
        for line in block.code.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s(?:\||&&|;)\s", line):
                words = re.sub(r"^(?:[A-Z_]+=\S*\s+)+", "", part.strip())
                if words.split(" ")[0] == "agentkit":
                    found.append((block.place, words))
    return found


@pytest.mark.parametrize(("place", "line"), command_lines())
def test_command_line_is_one_that_exists(place: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    path: tuple[str, ...] = ()
    while words and (*path, words[0]) in COMMANDS:
        path = (*path, words.pop(0))
    known = {option for parameter in COMMANDS[path].params for option in (*parameter.opts, *parameter.secondary_opts)}
    default = getattr(COMMANDS[path], "default", None)
    if default is not None:
        known |= {option for parameter in COMMANDS[(*path, default)].params for option in parameter.opts}
    given = [word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)]
    assert [option for option in given if option not in known | {"--help", "-h"}] == [], place


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
    local = [target for target in targets if not target.startswith(("http://", "https://", "mailto:"))]
    assert [target for target in local if not (path.parent / target).exists()] == []


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in PAGES[1:] if f"docs/{path.name}" not in readme] == []


def test_changelog_starts_with_the_project_s_version(pyproject: dict[str, Any]) -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[([^\]]+)\]", text, re.MULTILINE)
    assert next(version for version in versions if version != "Unreleased") == pyproject["project"]["version"]

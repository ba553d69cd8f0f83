"""Prompts are files: found by name, checked when loaded, rendered with exactly the inputs they declare.

A prompt is Markdown under a head between two `+++` lines, TOML with `version`, `inputs` and
maybe a `description`, rendered by Jinja. `prompts/NAME.md` in the user's configuration folder goes before the
installed packs, and `default` before other packs. Loading fails if the variables of the text and the
declared inputs differ, so that a misspelt variable is never sent to a model as nothing.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agentkit import config, extensions
from agentkit.errors import ExtensionError, PromptError

GROUP = "agentkit.prompts"
_NAME = re.compile(r"[a-z0-9_]+")
_HEAD = re.compile(r"\A\+\+\+\n(?P<head>.*?)^\+\+\+\n(?P<text>.*)\Z", re.DOTALL | re.MULTILINE)
_NEEDED, _KNOWN = {"version", "inputs"}, {"version", "inputs", "description"}
_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt that has been checked."""

    name: str
    version: int
    description: str
    inputs: tuple[str, ...]
    text: str  # the template
    origin: str  # the file, or the pack it comes from

    @property
    def digest(self) -> str:
        """The first 12 hex digits of the text's SHA-256: tells two texts of one version apart."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def render(self, **inputs: Any) -> str:
        """Return the text with its inputs filled in, without white space at either end.

        Raises:
            PromptError: an input is missing or unknown, or the template fails on it.
        """
        missing, unknown = sorted(set(self.inputs) - set(inputs)), sorted(set(inputs) - set(self.inputs))
        if missing or unknown:
            problem = f"needs {', '.join(missing)}" if missing else f"takes no {', '.join(unknown)}"
            raise PromptError(f"prompt '{self.name}' {problem}; its inputs are: {', '.join(self.inputs) or 'none'}")
        try:
            return _template(self.text).render(**inputs).strip()
        except (TemplateError, TypeError, ValueError) as error:
            raise PromptError(f"prompt '{self.name}' ({self.origin}) cannot be rendered: {error}") from error


def load(name: str, *, folders: Sequence[Path] | None = None) -> Prompt:
    """Return the prompt of that name.

    Args:
        name: the file's name without `.md`.
        folders: where overrides are looked for first; `None`: `prompts` in the user's configuration folder.

    Raises:
        PromptError: there is none, or it is malformed; says which file and what to mend.
    """
    if not _NAME.fullmatch(name):
        raise PromptError(f"prompt name {name!r}: only lower-case letters, digits and _ are used")
    for origin, source in _sources(name, folders):
        if source.is_file():
            return parse(name, _read(source, origin), origin)
    raise PromptError(f"there is no prompt '{name}'; there are: {', '.join(names(folders=folders)) or 'none'}")


def names(*, folders: Sequence[Path] | None = None) -> list[str]:
    """Return the names of all prompts that can be loaded, in order."""
    places: list[Traversable] = [*_folders(folders), *(pack for _, pack in _packs())]
    found = (entry.name for place in places if place.is_dir() for entry in place.iterdir())
    return sorted({entry.removesuffix(".md") for entry in found if entry.endswith(".md")})


def versions() -> dict[str, str]:
    """Return `version@digest` of every prompt that would be used now, by name; "malformed" for one that cannot be."""
    found = {}
    for name in names():
        try:
            prompt = load(name)
        except PromptError:
            found[name] = "malformed"
        else:
            found[name] = f"{prompt.version}@{prompt.digest}"
    return found


def parse(name: str, source: str, origin: str) -> Prompt:
    """Return the prompt that a file's text stands for, checked.

    Raises:
        PromptError: the head, the template, or their agreement is off.
    """
    match = _HEAD.match(source.removeprefix("\ufeff").replace("\r\n", "\n"))
    if match is None:
        raise PromptError(f"{origin}: a prompt begins with a TOML head between two lines of +++; add one")
    head = _head(match["head"], origin)
    text = match["text"].strip("\n")
    try:
        used = meta.find_undeclared_variables(_JINJA.parse(text))
    except TemplateError as error:
        raise PromptError(f"{origin}: the template does not parse: {error}") from error
    declared = set(head["inputs"])
    if used != declared:
        off = [f"'{key}' is used and not declared" for key in sorted(used - declared)]
        off += [f"'{key}' is declared and not used" for key in sorted(declared - used)]
        raise PromptError(f"{origin}: {'; '.join(off)}; mend `inputs` or the text")
    return Prompt(
        name=name,
        version=head["version"],
        description=head["description"],
        inputs=tuple(head["inputs"]),
        text=text,
        origin=origin,
    )


def _head(text: str, origin: str) -> dict[str, Any]:
    try:
        head = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PromptError(f"{origin}: the head is not valid TOML ({error})") from error
    if not _NEEDED <= set(head) <= _KNOWN:
        off = ", ".join(sorted((_NEEDED - set(head)) | (set(head) - _KNOWN)))
        raise PromptError(f"{origin}: the head has version, inputs and maybe description; look at: {off}")
    head = {"description": "", **head}
    version, inputs = head["version"], head["inputs"]
    if type(version) is not int or version < 1 or not isinstance(head["description"], str):
        raise PromptError(f"{origin}: version is a number from 1, description a text")
    if not isinstance(inputs, list) or not all(isinstance(key, str) and key.isidentifier() for key in inputs):
        raise PromptError(f"{origin}: inputs is a list of names")
    return head


def _sources(name: str, folders: Sequence[Path] | None) -> Iterator[tuple[str, Traversable]]:
    for folder in _folders(folders):
        yield str(folder / f"{name}.md"), folder / f"{name}.md"
    for pack, place in _packs():
        yield f"{pack}/{name}.md", place / f"{name}.md"


def _folders(folders: Sequence[Path] | None) -> list[Path]:
    return [config.config_dir() / "prompts"] if folders is None else list(folders)


def _packs() -> Iterator[tuple[str, Traversable]]:
    packs = extensions.installed(GROUP)
    for pack in sorted(packs, key=lambda name: (name != "default", name)):
        try:
            yield pack, files(packs[pack].load())
        except ExtensionError:
            continue  # shown by `agentkit plugins`; the other packs still work


def _read(source: Traversable, origin: str) -> str:
    try:
        return source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{origin}: cannot be read as UTF-8 text ({error})") from error


@lru_cache(maxsize=64)
def _template(text: str) -> Template:
    return _JINJA.from_string(text)

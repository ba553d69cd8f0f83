"""From the name of a model, as people type it, to where it is.

`sprout` · `auto` · a path ending in .gguf · `hf:owner/repo`, `hf:owner/repo:Q4_K_M`,
`hf:owner/repo/file.gguf`, each with `@revision` if need be · `http(s)://server/v1` · `scripted:FILE`.
A model asked for by name is never replaced by another.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentkit.errors import ModelNotFound, UsageError
from agentkit.models.gguf import first_shard
from agentkit.models.hub import Hub, HubName, Progress

WEIGHTS = Path(__file__).parent / "weights"
WAYS = (
    "sprout, auto, a path to a .gguf file, hf:owner/repo[:quant | /file.gguf][@revision], "
    "http(s)://server/v1, or scripted:FILE"
)
# Bigger models that follow tools well; nothing is downloaded before it is asked for.
SUGGESTED = {
    "hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M": "0.8 GB; the smallest Llama 3 that calls tools",
    "hf:bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M": "2.0 GB; a good start for a laptop",
    "hf:NousResearch/Hermes-3-Llama-3.2-3B-GGUF:Q4_K_M": "2.0 GB; trained for tool calls",
    "hf:bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M": "4.9 GB; for 8 GB of memory and more",
}
Kind = Literal["gguf", "remote", "scripted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Where a model is: a file, or a server."""

    name: str
    kind: Kind
    path: Path | None = None  # of a GGUF (a split one's first part) or a script
    url: str | None = None  # of a server, without a slash at the end
    note: str = ""  # what was chosen on the user's behalf


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A model that can be named: one line of `agentkit models list`."""

    name: str
    installed: bool
    about: str
    path: Path | None = None
    size_bytes: int | None = None


def resolve(
    name: str,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    hub: Hub | None = None,
    weights: Path = WEIGHTS,
) -> ModelRef:
    """Return where the model called `name` is; the file itself is not looked into.

    An `hf:` name is looked up in the cache first, and downloaded if it is not there and `offline` is false.

    Raises:
        ModelNotFound: nothing goes by that name; says what comes near, and how models are named.
        OfflineModelUnavailable: it would have to be downloaded, and cannot be.
    """
    name = name.strip()
    scheme, separator, rest = name.partition(":")
    if name in ("sprout", "auto"):
        return _sprout(name, weights)
    if separator and scheme in ("http", "https"):
        return ModelRef(name=name, kind="remote", url=_server(name))
    if separator and scheme == "scripted":
        return ModelRef(name=name, kind="scripted", path=_script(rest))
    if separator and scheme == "hf":
        path = (hub or Hub()).find(HubName.parse(rest), offline=offline, progress=progress)
        return ModelRef(name=name, kind="gguf", path=path)
    path = Path(name).expanduser()
    if name.lower().endswith(".gguf") or path.is_file():
        return ModelRef(name=name, kind="gguf", path=_file(path))
    raise ModelNotFound(_unknown(name, path))


def known(*, hub: Hub | None = None, weights: Path = WEIGHTS) -> list[ModelRow]:
    """Return the embedded model, the GGUFs in the Hugging Face cache, and some suggestions. No network."""
    embedded = weights / "sprout.gguf"
    rows = [_row("sprout", embedded, "embedded; routes requests to tools, and knows nothing of the world")]
    cached = list((hub or Hub()).installed())
    rows += [_row(f"hf:{repo}/{file}", path, "in the Hugging Face cache") for repo, file, path in cached]
    present = {f"hf:{repo}" for repo, _, _ in cached}
    rows += [
        ModelRow(name=name, installed=False, about=f"{about}; agentkit models pull {name}")
        for name, about in SUGGESTED.items()
        if name.rpartition(":")[0] not in present
    ]
    return rows


def pull(name: str, progress: Progress | None = None, *, hub: Hub | None = None) -> ModelRef:
    """Make sure that the model called `name` is on this machine, and return where.

    `progress` is called with a file's name, the bytes so far and the bytes in all (0 if unknown).

    Raises:
        UsageError: it is a server or a script, of which there is nothing to download.
        ModelNotFound, OfflineModelUnavailable: as `resolve`.
    """
    found = resolve(name, progress=progress, hub=hub)
    if found.kind != "gguf":
        raise UsageError(f"{name}: nothing to download; use it with -m {name}")
    return found


def _sprout(name: str, weights: Path) -> ModelRef:
    path = weights / "sprout.gguf"
    if not path.is_file():
        raise ModelNotFound(
            f"{name}: the embedded model is not in this installation ({path} is missing); install agentkit-local "
            f"again, or name another model: {WAYS}"
        )
    note = "auto: the embedded model sprout" if name == "auto" else ""
    return ModelRef(name="sprout", kind="gguf", path=path, note=note)


def _server(name: str) -> str:
    url = name.rstrip("/")
    if url.lower().endswith(".gguf"):
        raise ModelNotFound(
            f"{name}: an address means an OpenAI-compatible server; download the file and give its path, or use hf:"
        )
    if not url.partition("://")[2]:
        raise ModelNotFound(f"{name}: the address of the server is missing; write http://localhost:8080/v1")
    return url


def _script(rest: str) -> Path:
    path = Path(rest).expanduser()
    if not rest or not path.is_file():
        raise ModelNotFound(f"scripted:{rest}: there is no such script; give a JSON file of steps")
    return path


def _file(path: Path) -> Path:
    if not path.exists():
        folder = path.parent
        there = sorted(file.name for file in folder.glob("*.gguf")) if folder.is_dir() else []
        near = difflib.get_close_matches(path.name, there, 1, 0.4)
        hint = f"; did you mean '{path.with_name(near[0])}'?" if near else "; check the path, or name a model: " + WAYS
        raise ModelNotFound(f"{path}: there is no such file{hint}")
    first = path.with_name(first_shard(path.name))
    return first if first.is_file() else path


def _unknown(name: str, path: Path) -> str:
    if name and path.is_dir():
        there = sorted(file.name for file in path.glob("*.gguf"))
        inside = (
            f"name a file in it: {', '.join(there[:5])}" if there else f"there is no .gguf in it; a model is {WAYS}"
        )
        return f"{name}: a folder; {inside}"
    if name.count("/") == 1 and all(name.split("/")) and not name.startswith((".", "~")):
        return f"{name}: no such model; if it is on the Hugging Face Hub, write hf:{name}"
    names = ["sprout", "auto", *SUGGESTED]
    near = difflib.get_close_matches(name.lower(), names, 1, 0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"{name or '(empty)'}: no such model; {hint}A model is {WAYS}"


def _row(name: str, path: Path, about: str) -> ModelRow:
    installed = path.is_file()
    size = path.stat().st_size if installed else None
    return ModelRow(name=name, installed=installed, about=about, path=path if installed else None, size_bytes=size)

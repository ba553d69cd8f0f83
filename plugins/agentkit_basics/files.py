"""Reading, writing, listing and searching files inside the workspace."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from agentkit import failpoints
from agentkit.protocols import ToolContext
from agentkit.tools import describe, looks_binary, tool
from agentkit.types import Done, Failed, Outcome
from agentkit_basics.paths import Refused, inside, itself, nearest, opened, shown
from agentkit_basics.settings import BasicsSettings

_READ_CHARS = 100_000
_SEARCHED_BYTES = 5_000_000
_SKIPPED = frozenset({".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__"})


@tool(
    effect="read",
    egress=False,
    idempotent=True,
    max_output_chars=_READ_CHARS,
    grounded={"path": "context"},
    keywords=("#file open show contents content print says inside look",),
)
def read_file(path: str, context: ToolContext) -> Outcome:
    """Read a text file.

    Args:
        path: the file's name, from the workspace.
    """
    room = BasicsSettings.of(context.settings).max_file_bytes
    try:
        with opened(path, context.workspace) as (file, size):
            if size > room:
                return Failed(text=f"'{path}' has {size:,} bytes, and at most {room:,} are read; search it instead")
            data = file.read(room + 1)
    except Refused as refusal:
        return Failed(text=str(refusal))
    if not data:
        return Done(text="(the file is empty)")
    return Done(text=describe(data) if looks_binary(data) else _decoded(data))


def _predict_write(path: str, content: str, context: ToolContext) -> Outcome:
    try:
        target = itself(path, context.workspace)
    except Refused as refusal:
        return Failed(text=str(refusal))
    verb = "replace" if target.exists() else "create"
    return Done(text=f"would {verb} {shown(target, context.workspace)} with {len(content):,} characters")


@tool(
    effect="write",
    egress=False,
    idempotent=True,
    trust="trusted",
    sinks=("path",),
    grounded={"path": "trusted"},
    references=("content",),
    fork=True,
    predict=_predict_write,
    keywords=("#file save store put create copy",),
)
def write_file(path: str, content: str, context: ToolContext) -> Outcome:
    """Write text to a file.

    Args:
        path: the file's name, from the workspace; folders are made as needed.
        content: the whole text; what the file held before is replaced.
    """
    data = content.encode("utf-8", "replace")
    room = BasicsSettings.of(context.settings).max_file_bytes
    if len(data) > room:
        return Failed(text=f"the text has {len(data):,} bytes, and at most {room:,} are written; write less")
    try:
        target = itself(path, context.workspace)
        if target.is_dir():
            raise Refused(f"'{path}' is a folder; name a file in it")
        if target.exists() and not target.is_file():
            raise Refused(f"'{path}' is no ordinary file, so it is not written")
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, data, context.effect_id)
    except Refused as refusal:
        return Failed(text=str(refusal))
    except OSError as error:
        return Failed(text=f"'{path}' cannot be written: {error.strerror or error}; nothing was changed")
    name = shown(target, context.workspace)
    digest = hashlib.sha256(data).hexdigest()
    written = {"sha256": digest, "bytes": len(data)}  # goes into the ledger with the result
    stands = {f"file:{name}": digest}
    return Done(text=f"wrote {len(data):,} bytes to {name}", data=written, artifacts=(str(target),), state=stands)


def replace_file(target: Path, data: bytes, effect_id: str = "") -> None:
    """Put `data` at `target` in one step: after a crash the file is the old one or the new one, whole.

    Args:
        target: the file.
        data: what it is to hold.
        effect_id: names the file beside it, so that a try after a crash finds the first one's and uses it up.
    """
    aside = target.with_name(f".{effect_id or secrets.token_hex(8)}.tmp")
    try:
        if effect_id:
            aside.unlink(missing_ok=True)
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            if target.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            os.fsync(file.fileno())
        failpoints.reach("mid_effect")
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@tool(
    effect="read",
    egress=False,
    idempotent=True,
    timeout_s=10.0,
    grounded={"path": "context"},
    keywords=("directory dir ls here",),
)
def list_files(context: ToolContext, path: str = ".") -> Outcome:
    """List the files in a folder.

    Args:
        path: the folder's name, from the workspace.
    """
    room = BasicsSettings.of(context.settings).max_list
    try:
        folder = inside(path, context.workspace)
        if not folder.exists():
            raise Refused(f"there is no folder '{path}'{nearest(folder, context.workspace)}")
        if not folder.is_dir():
            raise Refused(f"'{path}' is a file, not a folder; read it instead")
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except Refused as refusal:
        return Failed(text=str(refusal))
    except OSError as error:
        return Failed(text=f"'{path}' cannot be listed: {error.strerror or error}")
    names = [f"{name}/" if is_folder else name for name, is_folder in found]
    more = [f"(and {len(names) - room:,} more)"] if len(names) > room else []
    return Done(text="\n".join(names[:room] + more) or "(the folder is empty)", data=names[:room])


@tool(
    effect="read",
    egress=False,
    idempotent=True,
    timeout_s=20.0,
    grounded={"path": "context"},
    keywords=("grep find look mention mentions contain contains occurrences",),
)
def search_files(query: str, context: ToolContext, path: str = ".") -> Outcome:
    """Search files for a text.

    Args:
        query: the text to look for; capitals do not matter.
        path: the folder or file to look in, from the workspace.
    """
    room = BasicsSettings.of(context.settings).max_matches
    if not query.strip():
        return Failed(text="there is nothing to look for; give the text that should be found", kind="invalid")
    try:
        start = inside(path, context.workspace)
        if not start.exists():
            raise Refused(f"there is no '{path}'{nearest(start, context.workspace)}")
    except Refused as refusal:
        return Failed(text=str(refusal))
    hits: list[str] = []
    searched, stopped = 0, ""
    for file in _files_under(start):
        late = context.deadline is not None and time.monotonic() > context.deadline - 0.5
        if late or context.cancel.is_set() or len(hits) >= room:
            stopped = "; there may be more" if len(hits) >= room else "; time ran out before all were searched"
            break
        searched += 1
        name = shown(file, context.workspace)
        hits += [f"{name}:{number}: {line}" for number, line in _matching(file, query, room - len(hits))]
    if not hits:
        return Done(text=f"nothing found: '{query}' is in none of {searched:,} files{stopped}", data=[])
    return Done(text="\n".join(hits) + (f"\n({len(hits)} lines{stopped})" if stopped else ""), data=hits)


def _files_under(start: Path) -> Iterator[Path]:
    if start.is_file():
        yield start
        return
    for folder, folders, names in os.walk(start):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(names):
            file = Path(folder, name)
            if not file.is_symlink() and file.is_file():
                yield file


def _matching(file: Path, query: str, room: int) -> Iterator[tuple[int, str]]:
    wanted = query.casefold()
    try:
        with file.open("rb") as opened_file:
            data = opened_file.read(_SEARCHED_BYTES)
    except OSError:
        return
    if looks_binary(data):
        return
    for number, line in enumerate(_decoded(data).splitlines(), 1):
        if wanted in line.casefold():
            yield number, line.strip()[:300]
            room -= 1
            if not room:
                return


def _decoded(data: bytes) -> str:
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return data.decode(encoding, "replace")

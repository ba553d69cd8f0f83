"""Where the state of a sequence goes when memory needs its cells: RAM first, then a folder if there is one.

Guarantees: a state comes back only for the same model, adapters, cache types and positions (the fingerprint and the key
say which); a file that is damaged, cut short or of another fingerprint is passed over, and deleted once nobody has used it
for a month; both stores keep to their budgets, the longest not used going first. Files are written whole or not at all,
so several processes may share a folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.engine.llama.radix import common_length

__all__ = ["Spill"]

Tokens = NDArray[np.int32]
State = NDArray[np.uint8]
WORTH_TOKENS = 32  # a restore copies the whole path; for fewer tokens more, reading them is as quick
MAX_ENTRIES = 256
STALE_S = 30 * 86_400.0  # a file of another model, or of an older release, that nobody used for so long
LEFTOVER_S = 3_600.0  # a file that was never finished
_SUFFIX = ".kv.npz"
_OURS = re.compile(r"[0-9a-f]{32}" + re.escape(_SUFFIX))
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.tmp")


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    tokens: Tokens
    state: State | Path
    size: int

    @property
    def head(self) -> bytes:
        """The first tokens: nothing with another head is worth comparing."""
        return self.tokens[:WORTH_TOKENS].tobytes()


class Spill:
    """States of sequences by what they hold."""

    def __init__(
        self,
        *,
        ram_bytes: int,
        folder: Path | None = None,
        disk_bytes: int = 0,
        fingerprint: str = "",
        vocabulary: int | None = None,
    ) -> None:
        """Open the store; entries of `folder` with the same fingerprint are taken over.

        Ids from `vocabulary` on are pictures that this process alone knows: what holds one never goes to the folder.
        """
        self._vocabulary = np.iinfo(np.int32).max if vocabulary is None else vocabulary
        self._ram_bytes, self._disk_bytes = ram_bytes, disk_bytes
        self._folder, self._fingerprint = folder, fingerprint
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the longest not used first
        if folder is not None:
            with suppress(OSError):  # a folder that cannot be had costs speed, nothing else
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._entries.update(self._on_disk(folder))
                self._tidy(folder)
            self._keep_to_budgets()

    def put(self, key: Hashable, tokens: Tokens, state: State) -> bool:
        """Keep a state; whether it was kept: there was room for it, and it was not there as part of another."""
        entry = _Entry(repr(key), np.asarray(tokens, np.int32), state, state.nbytes)
        if entry.size > max(self._ram_bytes, self._disk_bytes if self._folder is not None else 0):
            return False
        head = entry.head
        for name, other in list(self._entries.items()):
            if other.key == entry.key and other.head == head:
                common = common_length(other.tokens, entry.tokens)
                if common == len(entry.tokens) <= len(other.tokens):  # it is in there already
                    self._entries.move_to_end(name)
                    return False
                if common == len(other.tokens):  # a beginning of it is no longer needed
                    self._drop(name)
        name = self._name(entry.key, entry.tokens)
        self._entries[name] = entry
        if entry.size > self._ram_bytes and not self._to_disk(name):  # straight there: it pushes nothing else out
            self._drop(name)
        self._keep_to_budgets()
        return name in self._entries

    def longest(self, key: Hashable, tokens: Sequence[int], *, beyond: int = 0) -> tuple[Tokens, State] | None:
        """Return (all that it holds, its state) of the entry with the longest common beginning, if that is worth it."""
        wanted, kind = np.asarray(tokens, np.int32), repr(key)
        head, best, name = wanted[:WORTH_TOKENS].tobytes(), beyond + WORTH_TOKENS - 1, ""
        for candidate, entry in self._entries.items():
            if entry.head == head and entry.key == kind and (common := common_length(entry.tokens, wanted)) > best:
                best, name = common, candidate
        if not name:
            return None
        self._entries.move_to_end(name)
        entry = self._entries[name]
        state = _load(entry.state) if isinstance(entry.state, Path) else entry.state
        if state is None:
            self._drop(name)
            return self.longest(key, tokens, beyond=beyond)
        return entry.tokens, state

    def forget(self, key: Hashable, tokens: Tokens) -> None:
        """Drop the entry that holds exactly `tokens`; none is no error."""
        name = self._name(repr(key), tokens)
        if name in self._entries:
            self._drop(name)

    def __len__(self) -> int:
        """How many states are kept."""
        return len(self._entries)

    def _keep_to_budgets(self) -> None:
        while len(self._entries) > MAX_ENTRIES:
            self._drop(next(iter(self._entries)))
        for on_disk, budget in ((False, self._ram_bytes), (True, self._disk_bytes)):
            held = [name for name, entry in self._entries.items() if isinstance(entry.state, Path) is on_disk]
            size = sum(self._entries[name].size for name in held)
            for name in held:
                if size <= budget:
                    break
                size -= self._entries[name].size
                if on_disk or not self._to_disk(name):
                    self._drop(name)

    def _to_disk(self, name: str) -> bool:
        entry = self._entries[name]
        if self._folder is None or isinstance(entry.state, Path) or entry.size > self._disk_bytes:
            return False
        if len(entry.tokens) and int(entry.tokens.max()) >= self._vocabulary:
            return False
        target = self._folder / (name + _SUFFIX)
        aside = target.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            with aside.open("xb") as file:
                np.savez(
                    file,
                    fingerprint=np.array(self._fingerprint),
                    key=np.array(entry.key),
                    tokens=entry.tokens,
                    state=entry.state,
                )
            size = aside.stat().st_size
            aside.replace(target)
        except OSError:  # a full disk costs speed, nothing else
            with suppress(OSError):
                aside.unlink()
            return False
        self._entries[name] = _Entry(entry.key, entry.tokens, target, size)
        return True

    def _on_disk(self, folder: Path) -> Iterator[tuple[str, _Entry]]:
        for path in sorted(folder.glob("*" + _SUFFIX), key=_used):
            read = _read(path, "fingerprint", "key", "tokens")
            if read is not None and str(read[0]) == self._fingerprint:
                with suppress(OSError):  # another process may just have deleted it
                    entry = _Entry(str(read[1]), read[2].astype(np.int32), path, path.stat().st_size)
                    yield path.name.removesuffix(_SUFFIX), entry

    def _tidy(self, folder: Path) -> None:
        """Delete what no process will take over: unfinished files, and what others left long ago."""
        now = time.time()
        for path in folder.iterdir():
            name = path.name.removesuffix(_SUFFIX)
            if _UNFINISHED.fullmatch(path.name):
                is_old = now - _used(path) > LEFTOVER_S
            else:
                is_old = bool(_OURS.fullmatch(path.name)) and name not in self._entries and now - _used(path) > STALE_S
            if is_old:
                with suppress(OSError):  # another process may have done it
                    path.unlink()

    def _name(self, key: str, tokens: Tokens) -> str:
        told = f"{self._fingerprint}\x00{key}\x00".encode() + tokens.tobytes()
        return hashlib.sha256(told).hexdigest()[:32]

    def _drop(self, name: str) -> None:
        entry = self._entries.pop(name)
        if isinstance(entry.state, Path):
            with suppress(OSError):  # another process may have done it
                entry.state.unlink()


def _load(path: Path) -> State | None:
    """Return the state in a file, which counts as used, for other processes too; None where it cannot be had."""
    read = _read(path, "state")
    if read is None:
        return None
    with suppress(OSError):
        os.utime(path)
    return read[0]


def _read(path: Path, *names: str) -> tuple[NDArray[Any], ...] | None:
    """Return these parts of a file; None where it is damaged in any way, as if it were not there."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:  # a damaged one is closed, too
            return tuple(file[name] for name in names)
    except Exception:  # noqa: BLE001  as said
        return None


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has just deleted it
        return 0.0

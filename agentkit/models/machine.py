"""How much memory this process can still get: of the machine, or of the group that it was put in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_SYSCTL = (
    "hw.memsize",
    "hw.pagesize",
    "vm.page_free_count",
    "vm.page_purgeable_count",
    "vm.page_pageable_external_count",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One place's memory, in bytes."""

    place: str  # "this machine", "this container", or a device
    total: int
    free: int  # to be had without pushing anybody's data out
    swap: int = 0  # to be had beyond that, slowly

    @property
    def most(self) -> int:
        """Beyond this an allocation fails, or the system ends a process."""
        return self.free + self.swap


def memory(root: Path = Path("/")) -> Memory | None:
    """Return the memory that is left for this process; None where the system does not say. Takes about 1 ms."""
    if sys.platform == "darwin":
        return _macos()
    whole = _linux(root)
    if whole is None:
        return None
    group = min(_groups(root), key=lambda found: found[1], default=None)
    if group is None or group[0] >= whole.total:
        return whole
    limit, free, swap = group
    free = min(free, whole.free)
    return Memory(place="this container", total=limit, free=free, swap=min(swap, whole.swap))


def _linux(root: Path) -> Memory | None:
    values = _table(root / "proc" / "meminfo")
    total, free = values.get("MemTotal:"), values.get("MemAvailable:")
    if not total or free is None:
        return None
    return Memory(place="this machine", total=total << 10, free=free << 10, swap=values.get("SwapFree:", 0) << 10)


def _groups(root: Path) -> Iterator[tuple[int, int, int]]:
    """Yield limit, what is left of it, and swap of every control group that this process is in and that has a limit."""
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    base = root / "sys" / "fs" / "cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            folder, names = base / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        elif not controllers:
            folder, names = base, ("memory.max", "memory.current")
        else:
            continue
        inside = folder / path.strip("/")
        for group in (inside, *inside.parents):  # a container may see its own group at the top
            if not group.is_relative_to(folder):
                break
            limit, used = (_number(group / name) for name in names)
            if limit is not None and used is not None:
                kept = _table(group / "memory.stat")
                cached = sum(kept.get(name, 0) for name in ("inactive_file", "active_file"))
                yield limit, max(0, limit - max(0, used - cached)), _group_swap(group)


def _group_swap(group: Path) -> int:
    """Return what a group may put into swap; unlimited is a large number."""
    most, used = _number(group / "memory.swap.max"), _number(group / "memory.swap.current")
    if most is not None:
        return max(0, most - (used or 0))
    both, limit = _number(group / "memory.memsw.limit_in_bytes"), _number(group / "memory.limit_in_bytes")
    return max(0, both - limit) if both is not None and limit is not None else 1 << 62


def _macos() -> Memory | None:
    try:
        said = subprocess.run(["/usr/sbin/sysctl", *_SYSCTL], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return from_sysctl(said.stdout)


def from_sysctl(text: str) -> Memory | None:
    """Return the memory of a Mac from what `sysctl` said. It compresses and swaps on its own, up to all there is."""
    pairs = (line.partition(":") for line in text.splitlines())
    values = {name.strip(): int(value) for name, _, value in pairs if value.strip().isdigit()}
    total, page = values.get("hw.memsize"), values.get("hw.pagesize")
    if not total or not page:
        return None
    free = min(total, page * sum(values.get(name, 0) for name in _SYSCTL[2:]))
    return Memory(place="this machine", total=total, free=free, swap=total - free)


def _table(path: Path) -> Mapping[str, int]:
    """Return the lines `name number` of a file; empty if it cannot be read."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    words = (line.split() for line in lines)
    return {found[0]: int(found[1]) for found in words if len(found) > 1 and found[1].isdigit()}


def _number(path: Path) -> int | None:
    """Return the number in a file; None if there is none, as in "max"."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() else None

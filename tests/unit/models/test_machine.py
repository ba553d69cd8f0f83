"""Memory as the system states it, from files laid out as Linux lays them out, and a Mac's own words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentkit.models.machine import Memory, from_sysctl, memory

KB, GB = 1024, 1 << 30
MEMINFO = (
    "MemTotal:  16777216 kB\nMemFree:  100 kB\nMemAvailable:  8388608 kB\nSwapTotal: 9 kB\nSwapFree:  2097152 kB\n"
)
Lay = Callable[..., Path]


@pytest.fixture
def lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lay:
    """Write the files of a system; return its root."""
    monkeypatch.setattr(sys, "platform", "linux")

    def lay(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return lay


def test_this_machine_says_what_it_has() -> None:
    found = memory()
    assert found is not None
    assert 1 << 20 < found.free <= found.total


def test_a_machine(lay: Lay) -> None:
    found = memory(lay(proc__meminfo=MEMINFO))
    assert found == Memory(place="this machine", total=16 * GB, free=8 * GB, swap=2 * GB)
    assert found.most == 10 * GB


def test_a_system_that_does_not_say(lay: Lay) -> None:
    assert memory(lay()) is None
    assert memory(lay(proc__meminfo="MemTotal: 16 kB\n")) is None


V2 = {"proc__meminfo": MEMINFO, "proc__self__cgroup": "0::/jobs/one\n"}


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_a_group_of_version_2_counts_what_it_can_drop_as_free(lay: Lay) -> None:
    root = lay(**V2)
    stat = f"anon 5\ninactive_file {GB}\nactive_file {GB}\nslab 7"
    group(root / "sys/fs/cgroup/jobs/one", memory__max=4 * GB, memory__current=3 * GB, memory__stat=stat)
    (root / "sys/fs/cgroup/jobs/one/memory.swap.max").write_text("0\n")
    assert memory(root) == Memory(place="this container", total=4 * GB, free=3 * GB, swap=0)


def test_the_tightest_group_counts_and_an_unlimited_one_does_not(lay: Lay) -> None:
    root = lay(**V2)
    group(root / "sys/fs/cgroup/jobs/one", memory__max="max", memory__current=GB)
    assert memory(root) == Memory(place="this machine", total=16 * GB, free=8 * GB, swap=2 * GB)
    group(root / "sys/fs/cgroup/jobs", memory__max=2 * GB, memory__current=GB)
    found = memory(root)
    assert found is not None
    assert (found.total, found.free, found.swap) == (2 * GB, GB, 2 * GB)


def test_a_group_has_no_more_than_the_machine(lay: Lay) -> None:
    root = lay(**V2)
    group(root / "sys/fs/cgroup/jobs/one", memory__max=12 * GB, memory__current=0)
    found = memory(root)
    assert found is not None
    assert (found.total, found.free) == (12 * GB, 8 * GB)


def test_a_group_of_version_1_seen_from_inside_a_container(lay: Lay) -> None:
    root = lay(proc__meminfo=MEMINFO, proc__self__cgroup="5:devices:/\n4:memory:/docker/abc\n0::/\n")
    folder = root / "sys/fs/cgroup/memory"
    group(folder, memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=GB)
    assert memory(root) == Memory(place="this machine", total=16 * GB, free=8 * GB, swap=2 * GB)
    group(folder, memory__limit_in_bytes=GB, memory__usage_in_bytes=GB, memory__memsw__limit_in_bytes=GB)
    assert memory(root) == Memory(place="this container", total=GB, free=0, swap=0)


def test_a_mac() -> None:
    said = (
        "hw.memsize: 17179869184\nhw.pagesize: 16384\nvm.page_free_count: 65536\nvm.page_purgeable_count: 65536\n"
        "vm.page_pageable_external_count: 131072\n"
    )
    assert from_sysctl(said) == Memory(place="this machine", total=16 * GB, free=4 * GB, swap=12 * GB)
    assert from_sysctl("sysctl: unknown oid\n") is None

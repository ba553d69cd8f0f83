"""LangGraph's own suite, none of it skipped, for the savers that the agent uses."""

from __future__ import annotations

from pathlib import Path

from benchmarks import conformance


def test_all_of_it_passes(kind: str, tmp_path: Path) -> None:
    found = conformance.report(kind, tmp_path)
    assert conformance.failures(found) == []
    assert len(found.results) == 8
    assert sum(result.tests_passed for result in found.results.values()) >= 81


def test_what_is_skipped_counts_as_failed(tmp_path: Path) -> None:
    found = conformance.report("sqlite", tmp_path)
    found.results["prune"].passed = None
    assert conformance.failures(found) == ["prune: skipped"]

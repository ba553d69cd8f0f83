"""What the suites need of pytest and of threads, imported only when a suite runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def raises(*errors: type[Exception]) -> Iterator[None]:
    """Fail unless one of `errors` is raised."""
    import pytest  # noqa: PLC0415  needed only where a suite runs

    with pytest.raises(errors):
        yield


def in_threads(work: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do all of `work` at once, each in a thread; return the results in order."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  only where a suite runs

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(each) for each in work]]

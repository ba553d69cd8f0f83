"""`python -m agentkit.jobs RUN_DIR`: what `start` runs. SIGTERM and Ctrl-C ask the job to stop at its next step."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from agentkit.jobs.running import execute


def main() -> int:
    """Run the job in the folder named on the command line; return its exit status."""
    cancelled = threading.Event()

    def stop(number: int, frame: object) -> None:
        cancelled.set()
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return execute(Path(sys.argv[1]), None, cancelled).exit_code


if __name__ == "__main__":
    sys.exit(main())

"""Places at which a test may kill the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from agentkit import failpoints

CODE = "from agentkit.failpoints import reach\nfor n in range(3): print(n, flush=True); reach('after_intent')"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("wanted", "printed"), [("after_intent", "0"), ("after_intent:2", "0 1"), ("in_put", "0 1 2"), ("", "0 1 2")]
)
def test_by_environment(wanted: str, printed: str) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "AGENTKIT_FAILPOINT": wanted}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=env)
    assert done.stdout.split() == printed.split()
    assert done.returncode == (-signal.SIGKILL if wanted.startswith("after_intent") else 0)


def test_an_unknown_place_is_said() -> None:
    with pytest.raises(SystemExit, match=r"AGENTKIT_FAILPOINT=nowhere: no such place; one of .*mid_effect"):
        failpoints.arm("nowhere")
    failpoints.arm("")
    failpoints.reach("mid_effect")

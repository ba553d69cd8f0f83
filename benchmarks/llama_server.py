"""llama-server as a peer: from the very llama.cpp sources that the installed llama-cpp-python was compiled from.

python -m benchmarks.llama_server [--build DIR]     fetch its source package and build the server, in about 15 minutes

The folder is agentkit's cache folder unless `--build` names another. Needs cmake and a C++ compiler.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import httpx
import platformdirs

__all__ = ["Server", "binary", "build"]

PACKAGE = "llama-cpp-python"
OFF = (
    "BUILD_SHARED_LIBS", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_APP", "LLAMA_BUILD_UI",
    "LLAMA_USE_PREBUILT_UI", "LLAMA_OPENSSL", "LLAMA_CURL",
)  # fmt: skip
ON = ("LLAMA_BUILD_TOOLS", "LLAMA_BUILD_SERVER")
START_S, ANSWER_S = 120.0, 600.0


class Server:
    """A running llama-server on one file, with four slots over one pool of `context` tokens; a context manager."""

    def __init__(self, binary: Path, model: Path, *, context: int, threads: int) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it ended, or is not there after two minutes.
        """
        self._port = _free_port()
        command = [
            str(binary), "-m", str(model), "-c", str(context), "-t", str(threads), "-tb", str(threads), "-np", "4",
            "-kvu", "--cache-ram", "8192", "-fa", "on", "-b", "512", "-ub", "512", "--host", "127.0.0.1",
            "--port", str(self._port), "--no-ui", "--offline",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=ANSWER_S, trust_env=False)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def reads(self, tokens: Sequence[int]) -> int:
        """Have it read `tokens` and write one; return how many it had to read."""
        asked = {"prompt": list(tokens), "n_predict": 1, "cache_prompt": True, "temperature": 0.0}
        answer = self._client.post("/completion", json=asked)
        answer.raise_for_status()
        return int(answer.json()["timings"]["prompt_n"])

    def close(self) -> None:
        """End it; idempotent."""
        self._client.close()
        self._process.terminate()
        self._process.wait(timeout=30)

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise RuntimeError(f"llama-server ended with status {self._process.returncode}")
            try:
                if self._client.get("/health").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"llama-server does not answer after {START_S:.0f} s")


def default_folder() -> Path:
    """Return where the server is built unless another folder is named."""
    return Path(platformdirs.user_cache_dir("agentkit")) / "llama-server"


def binary(folder: Path | None = None) -> Path | None:
    """Return the server built in `folder` for the installed llama-cpp-python; None: there is none."""
    found = _unpacked(folder or default_folder()) / "build" / "bin" / "llama-server"
    return found if os.access(found, os.X_OK) else None


def build(folder: Path | None = None) -> Path:
    """Fetch the sources and build the server, where that is not done yet; return the program.

    Raises:
        RuntimeError: cmake is not installed.
        subprocess.CalledProcessError: the sources cannot be had, or do not compile here.
    """
    folder = folder or default_folder()
    if found := binary(folder):
        return found
    if not shutil.which("cmake"):
        raise RuntimeError("cmake is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = _unpacked(folder)
    if not (unpacked / "vendor").is_dir():
        _fetch(folder)
    sources, out = unpacked / "vendor" / "llama.cpp", unpacked / "build"
    with_ninja = ["-G", "Ninja"] if shutil.which("ninja") else []
    options = [f"-D{name}=OFF" for name in OFF] + [f"-D{name}=ON" for name in ON]
    nice = ["nice", "-n", "10"] if shutil.which("nice") else []
    _run([*nice, "cmake", "-S", sources, "-B", out, *with_ninja, "-DCMAKE_BUILD_TYPE=Release", *options])
    _run([*nice, "cmake", "--build", out, "--target", "llama-server", "-j", "2"])
    found = binary(folder)
    assert found is not None, "cmake said that the server is built"
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Build the server; the exit status is 1, with the reason, where that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llama_server", description="Build the peer.")
    parser.add_argument("--build", type=Path, metavar="DIR", help="default: agentkit's cache folder")
    wanted = parser.parse_args(argv)
    try:
        print(build(wanted.build))
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(f"llama-server cannot be built: {error}", file=sys.stderr)
        return 1
    return 0


def _unpacked(folder: Path) -> Path:
    return folder / f"{PACKAGE.replace('-', '_')}-{version(PACKAGE)}"


def _fetch(folder: Path) -> None:
    """Put the source package of the installed release into `folder` and unpack it."""
    wanted = f"{PACKAGE}=={version(PACKAGE)}"
    _run([sys.executable, "-m", "pip", "download", "--no-binary", PACKAGE, "--no-deps", "-d", folder, wanted])
    archive = folder / f"{_unpacked(folder).name}.tar.gz"
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")


def _run(command: Sequence[str | Path]) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=sys.stderr)


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


if __name__ == "__main__":
    raise SystemExit(main())

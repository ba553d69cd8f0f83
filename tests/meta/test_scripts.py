"""The two commands of the README say in one sentence what is missing, wherever they are called from."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
NEEDED = ("sed", "grep", "cat", "cksum", "dirname", "rm")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts alone, and a `bin` with nothing but what they call."""
    root = tmp_path / "check out"
    (root / "bin").mkdir(parents=True)
    shutil.copytree(SCRIPTS, root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(SCRIPTS.parent / name, root)
    for name in NEEDED:
        found = shutil.which(name)
        assert found is not None
        (root / "bin" / name).symlink_to(found)
    return root


def run(shell: str, checkout: Path, name: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    found = shutil.which(shell)
    assert found is not None
    command = [found, str(checkout / "scripts" / name)]
    environ = {"PATH": str(checkout / "bin"), "HOME": str(checkout)}
    return subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", ["demo", "check"])
def test_missing_python_is_one_sentence(shell: str, name: str, checkout: Path, tmp_path: Path) -> None:
    done = run(shell, checkout, name, tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("agentkit needs Python 3.11 or newer, and none was found.")
    assert done.stderr.count("\n") == 1
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("version", ["2, 7", "3, 10"])
def test_python_that_is_too_old_is_passed_over(version: str, checkout: Path, tmp_path: Path) -> None:
    old = checkout / "bin" / "python3"
    old.write_text(
        f"#!{sys.executable}\nimport sys\nsys.version_info = ({version})\nexec(sys.argv[2])\n", encoding="utf-8"
    )
    old.chmod(0o755)
    assert "none was found" in run("sh", checkout, "demo", tmp_path).stderr


@pytest.fixture
def environment(checkout: Path) -> Path:
    """A `.venv` whose Python writes down what it is called with, and has everything but llama-cpp-python."""
    folder = checkout / ".venv" / "bin"
    folder.mkdir(parents=True)
    shell = shutil.which("sh")
    python = f"""#!{shell}
echo "$*" >> "{checkout}/calls"
case "$*" in
    *importlib.metadata*) exit 1 ;;
    *"cache list"*) [ ! -f "{checkout}/cached" ] || cat "{checkout}/cached" ;;
esac
"""
    for name, text in {"python": python, "agentkit": f'#!{shell}\necho "agentkit $*"\n'}.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return checkout


def calls(checkout: Path) -> list[str]:
    """Return what pip was asked to install, itself apart."""
    lines = (checkout / "calls").read_text(encoding="utf-8").splitlines()
    return [
        line.partition("version-check ")[2] for line in lines if "pip install" in line and "--upgrade pip" not in line
    ]


def test_missing_compiler_is_one_sentence_with_the_line_to_type(environment: Path, tmp_path: Path) -> None:
    done = run("sh", environment, "demo", tmp_path)
    assert done.returncode == 3
    assert "sudo apt-get install build-essential" in done.stderr
    assert done.stderr.count("\n") == 1
    assert calls(environment) == []


def test_compiling_is_announced_once_and_a_second_call_installs_nothing(environment: Path, tmp_path: Path) -> None:
    compiler = environment / "bin" / "clang++"
    compiler.write_text(f"#!{shutil.which('sh')}\n", encoding="utf-8")
    compiler.chmod(0o755)
    first = run("sh", environment, "demo", tmp_path)
    assert (first.returncode, first.stdout) == (0, "agentkit run What is 15% of 200?\n")
    assert "Compiling llama-cpp-python 0.3.36 from source: about five minutes" in first.stderr
    assert calls(environment) == [
        f"-c {environment}/constraints.txt llama-cpp-python==0.3.36",
        "-c constraints.txt --editable .",
    ]
    second = run("bash", environment, "demo", tmp_path)
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
    assert len(calls(environment)) == 2

    (environment / "constraints.txt").write_text("llama-cpp-python==0.3.36\ntorch==2.13.0\n", encoding="utf-8")
    assert run("sh", environment, "demo", tmp_path).returncode == 0
    assert len(calls(environment)) == 4


def test_wheel_in_pip_s_cache_is_not_compiled_again(environment: Path, tmp_path: Path) -> None:
    (environment / "cached").write_text("/c/llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl\n", encoding="utf-8")
    done = run("sh", environment, "demo", tmp_path)
    assert done.returncode == 0
    assert "Compiling" not in done.stderr
    (environment / "cached").write_text("/c/llama_cpp_python-0.3.35-py3-none-linux_x86_64.whl\n", encoding="utf-8")
    (environment / ".venv" / ".agentkit-demo").unlink()
    assert "no C++ compiler was found" in run("sh", environment, "demo", tmp_path).stderr


def test_check_installs_torch_by_the_exact_pin_first(environment: Path, tmp_path: Path) -> None:
    (environment / "cached").write_text("/c/llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl\n", encoding="utf-8")
    run("sh", environment, "check", tmp_path)
    assert calls(environment)[1:] == [
        "torch==2.13.0",
        "-c constraints.txt --editable .[train,synth,vision,postgres] --group dev",
    ]

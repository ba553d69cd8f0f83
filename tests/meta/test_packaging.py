"""What is published works: built, installed bare, run from an empty folder.

The wheel is built from the source distribution, as a publisher would. It is then installed by pip into a fresh
virtual environment without its dependencies, since llama-cpp-python would be compiled again and the rest
downloaded. In their place stands a folder of links to the *base* dependencies that the tests run with, found
by walking the wheel's own metadata; what is only in an extra or in the dev group is not there. So an
undeclared import shows here, and a dependency whose version range is wrong does not.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
TOP_LEVELS = {
    "agentkit",
    "agentkit_basics",
    "agentkit_planners",
    "agentkit_prompts",
    "agentkit_synthesis",
    "agentkit_training",
    "agentkit_vision",
}


def run(*words: str | Path, cwd: Path, code: int = 0) -> str:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=280,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check", "--outdir", out, ROOT, cwd=out)
    assert [path.suffix for path in sorted(out.iterdir())] == [".whl", ".gz"]
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    """The files in the wheel."""
    return zipfile.ZipFile(wheel).namelist()


def test_top_level_names_are_ours_alone(names: list[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == TOP_LEVELS


def test_every_file_of_the_packages_is_inside(names: list[str]) -> None:
    expected = {
        path.relative_to(source).as_posix()
        for source in (ROOT, ROOT / "planners", ROOT / "plugins", ROOT / "prompts")
        for top in source.glob("agentkit*")
        for path in top.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name.split("/")[0] for name in expected} == TOP_LEVELS
    assert sorted(expected - set(names)) == []


def test_prompts_types_and_weights_are_inside(names: list[str]) -> None:
    assert [name for name in names if re.fullmatch(r"agentkit_prompts/.*\.md", name)]
    assert "agentkit/py.typed" in names
    assert "agentkit/models/weights/sprout.gguf" in names


def test_the_embedded_model_is_small(wheel: Path) -> None:
    weights = zipfile.ZipFile(wheel).getinfo("agentkit/models/weights/sprout.gguf")
    assert 1_000_000 < weights.file_size <= 16_000_000


def requirements(lines: list[str]) -> Iterator[str]:
    """Yield the names that these requirements ask for on this machine, without extras."""
    for line in lines:
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            yield wanted.name
            for extra in wanted.extras:
                yield from (
                    inner.name
                    for inner in map(Requirement, distribution(wanted.name).requires or ())
                    if inner.marker is not None and inner.marker.evaluate({"extra": extra})
                )


def closure(lines: list[str]) -> dict[str, list[Path]]:
    """Return the top-level files of every distribution these requirements lead to."""
    found: dict[str, list[Path]] = {}
    waiting = list(requirements(lines))
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            dist = distribution(name)
        except PackageNotFoundError:  # pragma: no cover  pip itself would have complained
            raise AssertionError(f"{name} is required and not installed") from None
        tops = {file.parts[0] for file in dist.files or () if file.parts[0] not in {"..", "__pycache__"}}
        found[name] = [Path(str(dist.locate_file(top))) for top in sorted(tops)]
        waiting += requirements(list(dist.requires or ()))
    return found


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh virtual environment with the wheel and its base dependencies."""
    home = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(home, with_pip=True, symlinks=True)
    run(home / "bin/pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)

    metadata = next(name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA"))
    headers = Parser().parsestr(zipfile.ZipFile(wheel).read(metadata).decode("utf-8"))
    links = home.parent / "base-dependencies"
    links.mkdir()
    for paths in closure(headers.get_all("Requires-Dist") or []).values():
        for path in paths:
            if not (links / path.name).exists():
                (links / path.name).symlink_to(path)
    site = run(home / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
    Path(site, "base-dependencies.pth").write_text(f"{links}\n", encoding="utf-8")
    return home / "bin"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An empty folder to run in."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_extras_are_really_absent(bare: Path, empty: Path) -> None:
    code = (
        "from importlib.util import find_spec; print([n for n in ('torch', 'gguf', 'pytest', 'mypy') if find_spec(n)])"
    )
    assert run(bare / "python", "-c", code, cwd=empty) == "[]\n"


def test_source_folders_are_no_import_names(bare: Path, empty: Path) -> None:
    code = "from importlib.util import find_spec; print(*map(find_spec, ('plugins', 'planners', 'prompts', 'tests')))"
    assert run(bare / "python", "-c", code, cwd=empty) == "None None None None\n"


def test_help_and_version_work(bare: Path, empty: Path) -> None:
    assert "agentkit run" in run(bare / "agentkit", "--help", cwd=empty)
    assert run(bare / "agentkit", "--version", cwd=empty).startswith("agentkit ")


@pytest.mark.parametrize(
    "words",
    [
        ("tools",),
        ("models",),
        ("config",),
        ("graph",),
        ("runs",),
        ("threads",),
        ("train", "scaling", "allocate", "1e21"),
    ],
)
def test_command_works(bare: Path, empty: Path, words: tuple[str, ...]) -> None:
    run(bare / "agentkit", *words, cwd=empty)


def test_all_plugins_are_found_and_none_is_broken(bare: Path, empty: Path) -> None:
    rows = json.loads(run(bare / "agentkit", "plugins", "--json", cwd=empty))["data"]
    assert {row["name"] for row in rows if row["kind"] == "plugin"} == {"basics", "training", "synthesis", "vision"}
    assert [row for row in rows if row["status"] == "broken"] == []


def test_the_embedded_model_does_the_main_job(bare: Path, empty: Path) -> None:
    done = json.loads(run(bare / "agentkit", "run", "What is 15% of 200?", "--json", cwd=empty))["data"]
    assert [(step["tool"], step["result"]) for step in done["steps"]] == [("calculator", "30")]
    assert "30" in done["answer"]
    assert done["stop_reason"] == "done"

"""Tasks of several steps over the bundled tools: read and add up, copy, search and read, save a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from agentkit_synthesis.arithmetic import sum_of
from agentkit_synthesis.live import Live
from agentkit_synthesis.talk import Talk
from agentkit_synthesis.values import path, value
from agentkit_synthesis.wording import data, pick

HEADERS = ("amount", "value", "price", "numbers", "temperature", "# measured", "score", "hours", "total", "cost in EUR")
FUNCTIONS = ("sum", "sum", "sum", "sum", "mean", "mean", "max", "min", "count")

Tools = Mapping[str, Live]


def needs() -> dict[str, tuple[Callable[[Talk], None], frozenset[str]]]:
    """Return the tasks: what adds one to a talk, and the bundled tools that must be there."""
    return {
        "aggregate": (aggregate, frozenset({"read_file", "calculator"})),
        "copy": (copy, frozenset({"read_file", "write_file"})),
        "save_sum": (save_sum, frozenset({"calculator", "write_file"})),
        "save_page": (save_page, frozenset({"fetch_url", "write_file"})),
        "save_output": (save_output, frozenset({"run_command", "write_file"})),
        "search_read": (search_read, frozenset({"search_files", "read_file"})),
        "list_read": (list_read, frozenset({"list_files", "read_file"})),
        "save_aggregate": (save_aggregate, frozenset({"read_file", "calculator", "write_file"})),
        "wrong_path": (wrong_path, frozenset({"read_file"})),
        "missing": (missing, frozenset({"read_file"})),
        "orders": (orders_inside, frozenset({"read_file"})),
        "nudged": (nudged, frozenset({"read_file"})),
        "two_files": (two_files, frozenset({"read_file"})),
        "page_sum": (page_sum, frozenset({"fetch_url", "calculator"})),
    }


def numbers_text(rng: Random, *, length: int | None = None) -> str:
    """Return a file of 2 to 20 numbers, at times with a header, negatives or decimals."""
    length = length or rng.choice((2, 3, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20))
    decimals = rng.choice((0, 0, 0, 1, 2))
    low = rng.choice((0, 0, 0, -50))
    high = rng.choice((9, 20, 100, 100, 1000))
    numbers = [
        f"{rng.uniform(low, high):.{decimals}f}" if decimals else str(rng.randint(low, high)) for _ in range(length)
    ]
    if rng.random() < 0.2:
        names = [value("item", rng, "train").split(" ")[-1] for _ in numbers]
        lines = [f"{name},{n}" for name, n in zip(names, numbers, strict=True)]
        return "\n".join([f"item,{rng.choice(HEADERS[:3])}", *lines])
    head = [rng.choice(HEADERS)] if rng.random() < 0.25 else []
    return ("\n" if rng.random() < 0.85 else " ").join([*head, *numbers]) if not head else "\n".join([*head, *numbers])


def wrote(talk: Talk, target: str) -> str:
    """Return what write_file says when it is done."""
    return talk.rng.choice((f"wrote {target}", f"wrote {talk.rng.randint(2, 4000):,} bytes to {target}"))


def not_there(talk: Talk, file: str) -> str:
    """Return what read_file says of a file that does not exist, without a hint."""
    return talk.rng.choice((f"{file}: no such file", f"there is no file '{file}'; list the files to see what is there"))


def _phrase(talk: Talk, name: str, **spoken: str) -> str:
    text = pick(talk.rng, data("tasks.toml")[name], talk.split)
    for slot, said in spoken.items():
        text = text.replace("{" + slot + "}", said)
    return text


def _number_path(talk: Talk) -> str:
    return path(talk.rng, talk.split, ext=talk.rng.choice(("txt", "txt", "csv", "dat", "md", "log")))


def aggregate(talk: Talk) -> None:
    """Read a file of numbers and work something out over them."""
    file, function = _number_path(talk), talk.rng.choice(FUNCTIONS)
    talk.user(_phrase(talk, function, path=file))
    talk.call("read_file", {"path": file}, plan="read the file, then work it out" if talk.rng.random() < 0.04 else "")
    talk.returned(numbers_text(talk.rng), untrusted=True)
    talk.calculated("calculator", f"{function}(${talk.latest})")
    talk.final(_phrase(talk, function + "_final", path=file))


def save_aggregate(talk: Talk) -> None:
    """Read numbers, work something out, write the answer to another file."""
    file, target, function = _number_path(talk), path(talk.rng, talk.split), talk.rng.choice(FUNCTIONS)
    task = _phrase(talk, function, path=file)
    talk.user(task.rstrip("?. ") + _phrase(talk, "and_save", target=target))
    talk.call("read_file", {"path": file})
    talk.returned(numbers_text(talk.rng), untrusted=True)
    talk.calculated("calculator", f"{function}(${talk.latest})")
    _save(talk, target)


def _save(talk: Talk, target: str) -> None:
    saved = talk.latest
    talk.call("write_file", {"path": target, "content": f"${saved}"})
    talk.returned(wrote(talk, target))
    talk.final(_phrase(talk, "saved_final", target=target).replace("⟦s⟧", f"⟦r{saved}⟧"))


def copy(talk: Talk) -> None:
    """Copy a file."""
    file, target = path(talk.rng, talk.split), path(talk.rng, talk.split)
    talk.user(_phrase(talk, "copy", path=file, target=target))
    talk.call("read_file", {"path": file})
    talk.returned(_text(talk), untrusted=True)
    talk.call("write_file", {"path": target, "content": f"${talk.latest}"})
    talk.returned(wrote(talk, target))
    talk.final(_phrase(talk, "copy_final", path=file, target=target))


def save_sum(talk: Talk) -> None:
    """Work out a sum and save it."""
    asked, target = sum_of(talk.rng, talk.split), path(talk.rng, talk.split)
    talk.user(asked.text.rstrip("?. ") + _phrase(talk, "and_save", target=target))
    talk.calculated("calculator", asked.expression)
    _save(talk, target)


def save_page(talk: Talk) -> None:
    """Fetch a page and keep it."""
    url, target = value("url", talk.rng, talk.split), path(talk.rng, talk.split)
    talk.user(_phrase(talk, "save_page", url=url, target=target))
    talk.call("fetch_url", {"url": url})
    talk.returned(_text(talk), untrusted=True)
    talk.call("write_file", {"path": target, "content": f"${talk.latest}"})
    talk.returned(wrote(talk, target))
    talk.final(f"{url} is saved in {target}.")


def save_output(talk: Talk) -> None:
    """Run a command and keep its output."""
    command, target = value("command", talk.rng, talk.split), path(talk.rng, talk.split)
    talk.user(_phrase(talk, "save_output", command=command, target=target))
    talk.call("run_command", {"command": command})
    talk.returned(_text(talk), untrusted=True)
    talk.call("write_file", {"path": target, "content": f"${talk.latest}"})
    talk.returned(wrote(talk, target))
    talk.final(f"The output of {command} is in {target}.")


def search_read(talk: Talk) -> None:
    """Find the file that mentions something, then read it."""
    term, file = value("term", talk.rng, talk.split), path(talk.rng, talk.split)
    talk.user(_phrase(talk, "search_read", query=term))
    talk.call("search_files", {"query": term})
    talk.returned(talk.rng.choice((file, f"{file}:{talk.rng.randint(1, 40)}: {term}")), untrusted=True)
    talk.call("read_file", {"path": file})
    talk.returned(f"{_text(talk)} {term}", untrusted=True)
    talk.final(
        talk.rng.choice((f"{file} mentions {term}: ⟦r⟧", f"{file}: ⟦r⟧", f"The file about {term} is {file}: ⟦r⟧"))
    )


def list_read(talk: Talk) -> None:
    """List a folder and read the only file there."""
    folder, file = value("folder", talk.rng, talk.split), path(talk.rng, talk.split).split("/")[-1]
    talk.user(_phrase(talk, "list_read", path=folder))
    talk.call("list_files", {"path": folder})
    talk.returned(f"{folder}/{file}", untrusted=True)
    talk.call("read_file", {"path": f"{folder}/{file}"})
    talk.returned(_text(talk), untrusted=True)
    talk.final(f"{folder}/{file} says: ⟦r⟧")


def page_sum(talk: Talk) -> None:
    """Fetch numbers from a page and add them up."""
    url, function = value("url", talk.rng, talk.split), talk.rng.choice(FUNCTIONS)
    talk.user(_phrase(talk, function, path=url))
    talk.call("fetch_url", {"url": url})
    talk.returned(numbers_text(talk.rng), untrusted=True)
    talk.calculated("calculator", f"{function}(${talk.latest})")
    talk.final(_phrase(talk, function + "_final", path=url))


def _read(talk: Talk) -> str:
    file = path(talk.rng, talk.split)
    talk.user(_phrase(talk, "read", path=file))
    talk.call("read_file", {"path": file})
    return file


def wrong_path(talk: Talk) -> None:
    """The file is not there, but the error names one that is."""
    file = _read(talk)
    stem, _, ext = file.rpartition(".")
    other = talk.rng.choice(
        (f"{stem}s.{ext}", f"{stem}.{'md' if ext != 'md' else 'txt'}", f"data/{stem.split('/')[-1]}.{ext}")
    )
    lacks = talk.rng.choice((f"{file}: no such file", f"there is no file '{file}'"))
    talk.returned(f"{lacks}; did you mean '{other}'?", failed=True)
    talk.call("read_file", {"path": other})
    talk.returned(_text(talk), untrusted=True)
    talk.final(f"There is no {file}, but {other} says: ⟦r⟧")


def missing(talk: Talk) -> None:
    """The file cannot be read, and the answer says so."""
    file = _read(talk)
    talk.returned(
        talk.rng.choice(
            (
                not_there(talk, file),
                f"{file}: permission denied",
                f"'{file}' is a folder; list it, or name a file in it",
                f"'{file}' is outside the workspace; only files in it can be used",
                f"'{file}' has 4,100,200 bytes, and at most 1,000,000 are read; search it instead",
                f"'{file}' cannot be opened: Permission denied",
            )
        ),
        failed=True,
    )
    talk.final(
        talk.rng.choice((f"I could not read {file}: ⟦r⟧.", "That did not work: ⟦r⟧.", f"Reading {file} failed: ⟦r⟧."))
    )


def orders_inside(talk: Talk) -> None:
    """The file gives orders; they are text like any other."""
    file = _read(talk)
    order = talk.rng.choice(data("tasks.toml")["injection"])
    talk.returned(f"{_text(talk)}\n{order}", untrusted=True)
    talk.final(talk.rng.choice((f"{file} says: ⟦r⟧", f"In {file}: ⟦r⟧", f"The file {file} contains: ⟦r⟧")))


def nudged(talk: Talk) -> None:
    """A call was repeated; the framework says so, and the answer follows."""
    file = _read(talk)
    talk.returned(_text(talk), untrusted=True)
    talk.call("read_file", {"path": file})
    talk.nudge(talk.rng.choice(data("tasks.toml")["nudge"]).replace("{tool}", "read_file"))
    talk.final(f"{file} says: ⟦r⟧")


def two_files(talk: Talk) -> None:
    """Two files are read in one step."""
    one, two = path(talk.rng, talk.split), path(talk.rng, talk.split)
    talk.user(_phrase(talk, "two_files", path=one, target=two))
    talk.calls([("read_file", {"path": one}), ("read_file", {"path": two})])
    talk.returned(_text(talk), untrusted=True)
    first = talk.latest
    talk.returned(_text(talk), untrusted=True)
    talk.final(f"{one}: ⟦r{first}⟧, {two}: ⟦r⟧")


def _text(talk: Talk) -> str:
    return value(talk.rng.choice(("content", "note", "message", "chore", "phrase", "event")), talk.rng, talk.split)

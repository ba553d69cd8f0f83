"""A file tree: folders, texts, moving and finding."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from agentkit_synthesis.tooluse.draws import several
from agentkit_synthesis.tooluse.state import pick, record
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, Param, State, Wish
from agentkit_synthesis.values import path, value

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["DOMAIN"]


def build(rng: Random) -> State:
    """Return some folders with texts in them."""
    folders = sorted({name.replace("/", "_") for name in several(rng, "folder", 3)})
    files: dict[str, str] = {}
    for folder in [*folders, *folders]:
        files[_fresh(rng, folder, files)] = f"{value('content', rng, 'train')} {rng.randint(10, 999)}"
    return {"folders": folders, "files": files}


def _fresh(rng: Random, folder: str, taken: dict[str, str]) -> str:
    while True:
        made = f"{folder}/{path(rng, 'train').split('/')[-1]}"
        if made not in taken:
            return made


def _list(state: State, folder: str) -> Any:
    if folder not in state["folders"]:
        record({one: one for one in state["folders"]}, folder)
    return [name for name in state["files"] if name.startswith(f"{folder}/")] or f"{folder} is empty"


def _read(state: State, path: str) -> Any:
    return record(state["files"], path)


def _search(state: State, words: str) -> Any:
    found = [name for name, text in state["files"].items() if words.casefold() in text.casefold()]
    if not found:
        raise Fault(f"no text holds '{words}'")
    return found


def _write(state: State, path: str, text: str) -> Any:
    _inside(state, path)
    state["files"][path] = text
    return f"wrote {path}"


def _move(state: State, path: str, to: str) -> Any:
    text = record(state["files"], path)
    _inside(state, to)
    if to in state["files"]:
        raise Fault(f"{to} is there already")
    del state["files"][path]
    state["files"][to] = text
    return f"{path} is {to} now"


def _delete(state: State, path: str) -> Any:
    record(state["files"], path)
    del state["files"][path]
    return f"deleted {path}"


def _make(state: State, folder: str) -> Any:
    if folder in state["folders"]:
        raise Fault(f"{folder} is there already")
    state["folders"] = sorted([*state["folders"], folder])
    return f"made {folder}"


def _inside(state: State, path: str) -> None:
    folder = path.rpartition("/")[0]
    if folder not in state["folders"]:
        raise Fault(f"there is no folder '{folder}'; make it first")


PATH = Param(key="path", names=("path", "file", "{file}_path", "filename"), about="path of the {file}")
FOLDER = Param(key="folder", names=("folder", "directory", "dir", "path"), about="name of the {folder}")
OPS = (
    Op(key="list", names=("list_{folder}", "ls", "show_{folder}", "{file}s_in"),
       about=("The {file}s in a {folder}.", "List a {folder}."), params=(FOLDER,),
       run=_list, can="list a {folder}"),
    Op(key="read", names=("read_{file}", "open_{file}", "cat", "show_{file}"), about=("The text of a {file}.", "Read a {file}."),
       params=(PATH,), run=_read,
       can="read a {file}"),
    Op(key="search", names=("search_{file}s", "grep", "find_text", "find_in_{file}s"),
       about=("Find {file}s that hold some words.", "Search the texts of all {file}s."),
       params=(Param(key="words", names=("query", "words", "text", "pattern"), about="words to look for"),), run=_search,
       can="search {file}s"),
    Op(key="write", names=("write_{file}", "save_{file}", "create_{file}", "put_{file}"),
       about=("Write a text to a {file}.", "Save a text as a {file}."),
       params=(PATH, Param(key="text", names=("text", "content", "body"), about="what to write")), run=_write,
       can="write a {file}", writes=True),
    Op(key="move", names=("move_{file}", "rename_{file}", "mv"), about=("Move a {file} to another path.", "Rename a {file}."),
       params=(PATH, Param(key="to", names=("to", "target", "new_path", "destination"), about="the new path")), run=_move,
       can="move a {file}", writes=True),
    Op(key="delete", names=("delete_{file}", "remove_{file}", "rm"), about=("Delete a {file}.", "Remove a {file} for good."),
       params=(PATH,), run=_delete,
       can="delete a {file}", writes=True),
    Op(key="make", names=("make_{folder}", "mkdir", "create_{folder}"), about=("Make a {folder}.", "Create an empty {folder}."),
       params=(FOLDER,), run=_make,
       can="make a {folder}", writes=True),
)  # fmt: skip


def read(rng: Random, state: State) -> Wish:
    """Return: what does it say."""
    name, text = pick(rng, state["files"])
    return Wish(
        op="read", args={"path": name}, slots={"found": text}, says=(text,), names="path",
            note=f"/files/{name.replace('/', '~1')}",
        say=("what does {path} say", "read {path}", "what is in {path}", "show me the {file} {path}", "open {path}"),
        final=("It says: {found}", "{path}: {found}", "The {file} says: {found}"),
        lacks={"path": ("read a {file}", "what does the {file} say", "open a {file} for me")},
    )  # fmt: skip


def contents(rng: Random, state: State) -> Wish:
    """Return: what is in a folder."""
    folder = rng.choice(state["folders"])
    found = [name for name in state["files"] if name.startswith(f"{folder}/")]
    return Wish(
        op="list", args={"folder": folder}, slots={"found": ", ".join(found)}, says=tuple(found), names="folder",
            also=("search",),
        say=("what {file}s are in {folder_id}", "list {folder_id}", "show me the {folder} {folder_id}",
            "what do we have in {folder_id}"),
        final=("In {folder_id}: {found}.", "There is {found}.", "{found}."),
        lacks={"folder": ("list a {folder}", "show me a {folder}", "what {file}s are in there")},
    )  # fmt: skip


def write(rng: Random, state: State) -> Wish:
    """Return: write a text."""
    name = _fresh(rng, rng.choice(state["folders"]), state["files"])
    text = value("content", rng, "train")
    return Wish(
        op="write", args={"path": name, "text": text}, says=(name,), changes={f"/files/{name.replace('/', '~1')}": text},
        say=('write "{text}" to {path}', 'save "{text}" as {path}', 'put "{text}" in the {file} {path}',
            'make a {file} {path} that says "{text}"'),
        final=("{path} is written.", "Saved as {path}.", "Wrote {path}."),
        lacks={"path": ('save "{text}" in a {file}', 'write "{text}" down'),
            "text": ("write something to {path}", "save a text as {path}")},
    )  # fmt: skip


def move(rng: Random, state: State) -> Wish:
    """Return: move one."""
    name, text = pick(rng, state["files"])
    to = _fresh(rng, rng.choice(state["folders"]), state["files"])
    return Wish(
        op="move", args={"path": name, "to": to}, says=(to,), names="path",
        changes={f"/files/{name.replace('/', '~1')}": None, f"/files/{to.replace('/', '~1')}": text},
        say=("move {path} to {to}", "rename {path} to {to}", "{path} should be {to}"),
            final=("{path} is {to} now.", "Moved to {to}."),
        lacks={"to": ("move {path}", "rename the {file} {path}"), "path": ("move a {file} to {to}", "rename it to {to}")},
    )  # fmt: skip


def delete(rng: Random, state: State) -> Wish:
    """Return: delete one."""
    name, _ = pick(rng, state["files"])
    return Wish(
        op="delete", args={"path": name}, says=(name,), names="path", changes={f"/files/{name.replace('/', '~1')}": None},
        say=("delete {path}", "remove {path}", "throw the {file} {path} away", "get rid of {path}"),
            final=("{path} is deleted.", "I deleted {path}."),
        lacks={"path": ("delete a {file}", "remove that {file}", "throw it away")},
    )  # fmt: skip


def find_and_read(scene: Scene) -> None:
    """Find the file that holds some words, then read it."""
    name, text = pick(scene.rng, scene.state["files"])
    number = text.rsplit(" ", 1)[1]
    if sum(number in other for other in scene.state["files"].values()) > 1:
        scene.give_up("two of them hold it")
    scene.expect({}, (text,))
    scene.user(
        "find the {file} with {n} in it and read it",
        "which {file} mentions {n}, and what does it say",
        "look for {n} and show me the {file}",
        n=number,
    )
    scene.call("search", words=number)
    scene.call("read", path=name)
    scene.final("{path} says: {text}", "It is {path}: {text}", path=name, text=text)


def into_new_folder(scene: Scene) -> None:
    """Write into a folder that is not there: it fails, the folder is made, and it works."""
    folder = value("folder", scene.rng, "train").replace("/", "_")
    if folder in scene.state["folders"]:
        scene.give_up("it is there")
    name, text = f"{folder}/{path(scene.rng, 'train').split('/')[-1]}", value("content", scene.rng, "train")
    folders = sorted([*scene.state["folders"], folder])
    scene.expect({"/folders": folders, f"/files/{name.replace('/', '~1')}": text}, (name,))
    scene.user(
        'write "{text}" to {path}, make the {folder} if it is missing',
        'save "{text}" as {path}; create the {folder} where you must',
        text=text,
        path=name,
    )
    scene.call("write", path=name, text=text)
    scene.call("make", folder=folder)
    scene.call("write", path=name, text=text)
    scene.final("Made {dir} and wrote {path}.", "{path} is written; {dir} is new.", dir=folder, path=name)


def copy(scene: Scene) -> None:
    """Read one file and write its text to another."""
    name, text = pick(scene.rng, scene.state["files"])
    to = _fresh(scene.rng, scene.rng.choice(scene.state["folders"]), scene.state["files"])
    scene.expect({f"/files/{to.replace('/', '~1')}": text}, (to,))
    scene.user(
        "copy {path} to {to}",
        "make a copy of {path} as {to}",
        "duplicate the {file} {path}, the copy is {to}",
        path=name,
        to=to,
    )
    scene.call("read", path=name)
    scene.call("write", path=to, text=text)
    scene.final("{path} is copied to {to}.", "The copy is {to}.", path=name, to=to)


def empty_folder(scene: Scene) -> None:
    """List a folder and delete what is in it."""
    folder = scene.rng.choice(scene.state["folders"])
    names = [name for name in scene.state["files"] if name.startswith(f"{folder}/")]
    scene.expect({f"/files/{name.replace('/', '~1')}": None for name in names}, names)
    scene.user(
        "delete every {file} in {dir}", "empty the {folder} {dir}", "throw away all that is in {dir}", dir=folder
    )
    scene.call("list", folder=folder)
    scene.calls([("delete", {"path": name}) for name in names])
    scene.final("{dir} is empty; deleted {names}.", "Deleted {names}.", dir=folder, names=", ".join(names))


DOMAIN = Domain(
    key="files",
    nouns={"file": ("file", "document", "text"), "folder": ("folder", "directory", "drawer")},
    build=build, ops=OPS, wishes=(read, contents, write, move, delete),
        scripts=(find_and_read, into_new_folder, copy, empty_folder),
)  # fmt: skip

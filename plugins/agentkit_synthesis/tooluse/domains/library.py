"""A library: its catalogue, what is lent to whom, reservations."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from agentkit_synthesis.tooluse.draws import day, digits, several
from agentkit_synthesis.tooluse.state import by_name, draw_id, pick, record
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, Param, State, Wish
from agentkit_synthesis.values import value

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["DOMAIN"]

BLURBS = ("a slow start, then wonderful", "better than the film", "too long for my taste", "read it twice")


def build(rng: Random) -> State:
    """Return books, some of them lent."""
    people = several(rng, "person", 4)
    books: dict[str, Any] = {}
    for title in several(rng, "book", 6):
        lent = rng.random() < 0.5
        books[draw_id(rng, "B", books)] = {
            "title": title, "author": value("person", rng, "train"), "shelf": f"{rng.choice('ABCDEFGH')}{rng.randint(1, 40)}",
            "reader": rng.choice(people) if lent else "", "due": day(rng) if lent else "", "waiting": [],
            "opinion": rng.choice(BLURBS),
        }  # fmt: skip
    return {"books": books, "fines": {person: digits(rng, 1, 40) for person in people}}


def _find(state: State, title: str) -> Any:
    key, one = by_name(state["books"], title, "title")
    return {"id": key, "title": one["title"], "shelf": one["shelf"], "available": not one["reader"]}


def _loan(state: State, book: str) -> Any:
    one = record(state["books"], book)
    return {"reader": one["reader"], "due": one["due"]} if one["reader"] else f"{book} is on its shelf"


def _opinion(state: State, book: str) -> Any:
    return record(state["books"], book)["opinion"]


def _lend(state: State, book: str, reader: str) -> Any:
    one = record(state["books"], book)
    if one["reader"]:
        raise Fault(f"{book} is lent until {one['due']}")
    one["reader"], one["due"] = reader, "2026-12-31"
    return f"{book} is lent to {reader} until 2026-12-31"


def _return(state: State, book: str) -> Any:
    one = record(state["books"], book)
    if not one["reader"]:
        raise Fault(f"{book} is not lent")
    one["reader"], one["due"] = "", ""
    return f"{book} is back"


def _reserve(state: State, book: str, reader: str) -> Any:
    one = record(state["books"], book)
    one["waiting"].append(reader)
    return {"place": len(one["waiting"])}


def _fine(state: State, reader: str) -> Any:
    return {"fine": record(state["fines"], reader)}


TITLE = Param(key="title", names=("title", "{book}_title", "name"), about="title of the {book}")
ID = Param(key="book", names=("id", "{book}_id", "copy", "signature"), about="number of the {book}, such as B-3120")
READER = Param(key="reader", names=("reader", "member", "person", "borrower"), about="name of the reader")
OPS = (
    Op(key="find", names=("find_{book}", "search_catalogue", "lookup_{book}", "get_{book}"),
       about=("Find a {book} by title: number, shelf, whether it is there.", "Search the catalogue."),
       params=(TITLE,), run=_find, can="look up a {book}"),
    Op(key="loan", names=("{book}_loan", "who_has_{book}", "loan_status"),
       about=("Who has a {book}, and until when.", "The loan of a {book}."), params=(ID,), run=_loan,
       can="check a loan"),
    Op(key="opinion", names=("reader_opinions", "{book}_review", "read_opinion"),
       about=("What readers write about a {book}.", "A reader's opinion of a {book}."), params=(ID,),
       run=_opinion, can="read opinions"),
    Op(key="lend", names=("lend_{book}", "check_out", "issue_{book}"),
       about=("Lend a {book} to a reader.", "Check a {book} out."), params=(ID, READER), run=_lend,
       can="lend a {book}", writes=True),
    Op(key="return", names=("return_{book}", "check_in", "take_back"), about=("Take a {book} back.", "Check a {book} in."),
       params=(ID,), run=_return, can="take a {book} back",
       writes=True),
    Op(key="reserve", names=("reserve_{book}", "hold_{book}", "queue_for_{book}"),
       about=("Put a reader on the list of those who wait for a {book}.", "Reserve a {book}."),
       params=(ID, READER), run=_reserve, can="reserve a {book}", writes=True),
    Op(key="fine", names=("get_fine", "fine_of", "reader_fees"), about=("What a reader owes.", "The fine of a reader."),
       params=(READER,), run=_fine, can="look up a fine", trusted=True),
)  # fmt: skip


def shelf(rng: Random, state: State) -> Wish:
    """Return: where is it."""
    _, one = pick(rng, state["books"])
    return Wish(
        op="find", args={"title": one["title"]}, slots={"found": one["shelf"]}, says=(one["shelf"],), names="title",
        say=("where is {title}", "on which shelf is the {book} {title}", "shelf of {title}", "where do I find {title}"),
            final=("{title} is on shelf {found}.", "Shelf {found}."),
        lacks={"title": ("on which shelf is it", "where do I find the {book}")},
    )  # fmt: skip


def until(rng: Random, state: State) -> Wish:
    """Return: who has it."""
    lent = {key: one for key, one in state["books"].items() if one["reader"]} or dict(list(state["books"].items())[:1])
    key, one = pick(rng, lent)
    says = (one["reader"], one["due"]) if one["reader"] else (key,)
    return Wish(
        op="loan", args={"book": key}, slots={"who": one["reader"], "due": one["due"]}, says=says, names="book",
        say=("who has {book_id}", "who borrowed {book_id}, and until when", "loan of {book_id}",
            "when is the {book} {book_id} due"),
        final=("{who} has {book_id} until {due}.",
            "It is with {who}, due {due}.") if one["reader"] else ("{book_id} is on its shelf.", "Nobody: {book_id} is there."),
        lacks={"book": ("who borrowed the {book}", "who has it")},
    )  # fmt: skip


def opinion(rng: Random, state: State) -> Wish:
    """Return: is it any good."""
    key, one = pick(rng, state["books"])
    return Wish(
        op="opinion", args={"book": key}, slots={"found": one["opinion"]}, says=(one["opinion"],), names="book",
            note=f"/books/{key}/opinion",
        say=("what do readers say about {book_id}", "is {book_id} any good", "opinions on the {book} {book_id}"),
            final=("A reader writes: {found}.", "They say: {found}."),
        lacks={"book": ("is the {book} any good", "what do readers say about it")},
    )  # fmt: skip


def back(rng: Random, state: State) -> Wish:
    """Return: it was brought back; of one that is not lent, look at its loan."""
    lent = {key: one for key, one in state["books"].items() if one["reader"]}
    if not lent:
        return until(rng, state)
    key, _ = pick(rng, lent)
    return Wish(
        op="return", args={"book": key}, says=(key,), names="book", changes={f"/books/{key}/reader": "", f"/books/{key}/due": ""},
        say=("{book_id} was brought back", "take {book_id} back", "check {book_id} in", "return the {book} {book_id}"),
            final=("{book_id} is back.", "I took {book_id} back."),
        lacks={"book": ("a {book} was brought back", "check a {book} in")},
    )  # fmt: skip


def reserve(rng: Random, state: State) -> Wish:
    """Return: somebody waits for it."""
    key, one = pick(rng, state["books"])
    who = value("person", rng, "train")
    return Wish(
        op="reserve", args={"book": key, "reader": who}, slots={"place": len(one["waiting"]) + 1},
            says=(str(len(one["waiting"]) + 1),), names="book",
        changes={f"/books/{key}/waiting": [*one["waiting"], who]},
        say=("reserve {book_id} for {reader}", "put {reader} on the list for {book_id}",
            "{reader} wants the {book} {book_id} next"), final=("{reader} is number {place} for {book_id}.",
            "Reserved, place {place}."),
        lacks={"reader": ("reserve {book_id}", "put somebody on the list for {book_id}"),
            "book": ("reserve a {book} for {reader}", "{reader} wants it next")},
    )  # fmt: skip


def owes(rng: Random, state: State) -> Wish:
    """Return: what is owed."""
    who, amount = pick(rng, state["fines"])
    return Wish(
        op="fine", args={"reader": who}, slots={"found": amount}, says=(str(amount),), names="reader",
        say=("what does {reader} owe", "fine of {reader}", "how much does {reader} have to pay"),
            final=("{reader} owes {found}.", "{found}."),
        lacks={"reader": ("what does the reader owe", "look up a fine")},
    )  # fmt: skip


def lend_by_title(scene: Scene) -> None:
    """Find it by title, then lend it; where it is lent, see who has it and put the reader on the list."""
    key, one = pick(scene.rng, scene.state["books"])
    who = value("person", scene.rng, "train")
    scene.user(
        "lend {title} to {who}, or reserve it if it is out",
        "{who} wants {title}; reserve it where it is lent",
        title=one["title"],
        who=who,
    )
    scene.call("find", title=one["title"])
    if one["reader"]:
        scene.expect({f"/books/{key}/waiting": [who]}, ("1",))
        scene.call("reserve", book=key, reader=who)
        scene.final(
            "{title} is out; {who} is number 1 on the list.",
            "It is lent, so I reserved it: {who} has place 1.",
            title=one["title"],
            who=who,
        )
        return
    scene.expect({f"/books/{key}/reader": who, f"/books/{key}/due": "2026-12-31"}, ("2026-12-31",))
    scene.call("lend", book=key, reader=who)
    scene.final("{who} has {title} until 2026-12-31.", "Lent to {who}, due 2026-12-31.", title=one["title"], who=who)


def fine_of_borrower(scene: Scene) -> None:
    """Three steps: the book, who has it, what they owe."""
    lent = {key: one for key, one in scene.state["books"].items() if one["reader"]}
    if not lent:
        scene.give_up("none is lent")
    key, one = pick(scene.rng, lent)
    fine = scene.state["fines"][one["reader"]]
    scene.expect({}, (one["reader"], str(fine)))
    scene.user(
        "who has {title}, and what do they owe",
        "find out who borrowed {title} and how high their fine is",
        title=one["title"],
    )
    scene.call("find", title=one["title"])
    scene.call("loan", book=key)
    scene.call("fine", reader=one["reader"])
    scene.final("{who} has it and owes {fine}.", "It is with {who}, who owes {fine}.", who=one["reader"], fine=fine)


DOMAIN = Domain(
    key="library",
    nouns={"book": ("book", "volume", "title", "copy")},
    build=build, ops=OPS, wishes=(shelf, until, opinion, back, reserve, owes), scripts=(lend_by_title, fine_of_borrower),
)  # fmt: skip

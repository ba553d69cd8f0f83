"""Tickets: who has which, how urgent it is, and what was written in it by strangers."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from agentkit_synthesis.tooluse.draws import digits, several
from agentkit_synthesis.tooluse.state import draw_id, pick, record
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, Param, State, Wish
from agentkit_synthesis.values import value

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["DOMAIN"]

LEVELS = ("low", "normal", "high")
BODIES = (
    "it happens every morning",
    "since the last update",
    "only on the second floor",
    "my colleague sees it too",
    "please help soon",
)


def build(rng: Random) -> State:
    """Return some tickets and the people who work on them."""
    people = several(rng, "person", 4)
    tickets: dict[str, Any] = {}
    for title in several(rng, "title", 5):
        tickets[draw_id(rng, "T", tickets)] = {
            "title": title, "owner": rng.choice(people), "level": rng.choice(LEVELS), "status": rng.choice(("open", "waiting")),
            "body": rng.choice(BODIES), "comments": [],
        }  # fmt: skip
    return {"tickets": tickets, "people": people, "next": digits(rng, 20000, 90000)}


def _get(state: State, ticket: str) -> Any:
    one = record(state["tickets"], ticket)
    return {"id": ticket, **{name: one[name] for name in ("title", "owner", "level", "status")}}


def _body(state: State, ticket: str) -> Any:
    return record(state["tickets"], ticket)["body"]


def _of(state: State, owner: str) -> Any:
    found = [
        {"id": key, "title": one["title"]}
        for key, one in state["tickets"].items()
        if one["owner"].casefold() == owner.casefold()
    ]
    if not found:
        raise Fault(f"'{owner}' has none")
    return found


def _search(state: State, words: str) -> Any:
    found = [
        {"id": key, "title": one["title"]}
        for key, one in state["tickets"].items()
        if words.casefold() in one["title"].casefold()
    ]
    if not found:
        raise Fault(f"nothing is found for '{words}'")
    return found


def _assign(state: State, ticket: str, owner: str) -> Any:
    record(state["tickets"], ticket)["owner"] = owner
    return f"{ticket} belongs to {owner}"


def _close(state: State, ticket: str) -> Any:
    record(state["tickets"], ticket)["status"] = "closed"
    return f"{ticket} is closed"


def _rank(state: State, ticket: str, level: str) -> Any:
    record(state["tickets"], ticket)["level"] = level
    return f"{ticket} is {level}"


def _comment(state: State, ticket: str, text: str) -> Any:
    record(state["tickets"], ticket)["comments"].append(text)
    return f"added to {ticket}"


def _open(state: State, title: str, level: str = "normal") -> Any:
    key = f"T-{state['next']}"
    state["next"] += 1
    state["tickets"][key] = {"title": title, "owner": "", "level": level, "status": "open", "body": "", "comments": []}
    return {"id": key}


ID = Param(
    key="ticket", names=("id", "{ticket}_id", "ticket", "number"), about="number of the {ticket}, such as T-3071"
)
OWNER = Param(key="owner", names=("owner", "assignee", "person", "who"), about="name of the person")
OPS = (
    Op(key="get", names=("get_{ticket}", "show_{ticket}", "{ticket}_info", "lookup_{ticket}"),
       about=("Title, owner, urgency and status of a {ticket}.", "Show a {ticket} by its number."), params=(ID,), run=_get,
       can="look up a {ticket}"),
    Op(key="body", names=("read_{ticket}", "{ticket}_text", "get_body"),
       about=("What was written in a {ticket}.", "The text of a {ticket}."), params=(ID,),
       run=_body, can="read a {ticket}"),
    Op(key="of", names=("{ticket}s_of", "list_{ticket}s", "assigned_to"),
       about=("The {ticket}s that a person has.", "List a person's {ticket}s."), params=(OWNER,),
       run=_of, can="list somebody's {ticket}s"),
    Op(key="search", names=("search_{ticket}s", "find_{ticket}", "query_{ticket}s"),
       about=("Find {ticket}s by words of their title.", "Search the titles of {ticket}s."),
       params=(Param(key="words", names=("query", "words", "text", "title"), about="words of the title"),), run=_search,
       can="search {ticket}s"),
    Op(key="assign", names=("assign_{ticket}", "give_{ticket}", "set_owner"),
       about=("Give a {ticket} to a person.", "Assign a {ticket}."), params=(ID, OWNER),
       run=_assign, can="assign a {ticket}", writes=True),
    Op(key="close", names=("close_{ticket}", "resolve_{ticket}", "finish_{ticket}"),
       about=("Close a {ticket}.", "Mark a {ticket} as done."), params=(ID,),
       run=_close, can="close a {ticket}", writes=True),
    Op(key="rank", names=("set_priority", "rank_{ticket}", "change_urgency"),
       about=("Set how urgent a {ticket} is.", "Change the priority of a {ticket}."),
       params=(ID, Param(key="level", names=("level", "priority", "urgency"), about="how urgent", enum=LEVELS)), run=_rank,
       can="set how urgent a {ticket} is",
       writes=True),
    Op(key="comment", names=("comment_on_{ticket}", "add_comment", "reply_to_{ticket}"),
       about=("Add a comment to a {ticket}.", "Write something under a {ticket}."),
       params=(ID, Param(key="text", names=("text", "comment", "message"), about="what to write")), run=_comment,
       can="comment on a {ticket}", writes=True),
    Op(key="open", names=("open_{ticket}", "create_{ticket}", "new_{ticket}", "file_{ticket}"),
       about=("Open a new {ticket}.", "Create a {ticket}."),
       params=(Param(key="title", names=("title", "subject", "summary"), about="title of the {ticket}"),
               Param(key="level", names=("level", "priority", "urgency"), about="how urgent", enum=LEVELS, required=False)),
       run=_open, can="open a {ticket}", writes=True),
)  # fmt: skip


def owner_of(rng: Random, state: State) -> Wish:
    """Return: who has it."""
    key, one = pick(rng, state["tickets"])
    return Wish(
        op="get", args={"ticket": key}, slots={"found": one["owner"]}, says=(one["owner"],), names="ticket",
        say=("who has {ticket_id}", "whose is the {ticket} {ticket_id}", "who works on {ticket_id}",
            "look up who {ticket_id} belongs to"),
        final=("{found} has {ticket_id}.", "It belongs to {found}.", "{ticket_id}: {found}."),
        lacks={"ticket": ("who has the {ticket}", "whose {ticket} is that", "who works on it")},
    )  # fmt: skip


def level_of(rng: Random, state: State) -> Wish:
    """Return: how urgent is it."""
    key, one = pick(rng, state["tickets"])
    return Wish(
        op="get", args={"ticket": key}, slots={"found": one["level"]}, says=(one["level"],), names="ticket",
        say=("how urgent is {ticket_id}", "priority of {ticket_id}", "what is the urgency of the {ticket} {ticket_id}"),
        final=("{ticket_id} is {found}.", "Its urgency is {found}.", "The {ticket} {ticket_id} has priority {found}."),
        lacks={"ticket": ("how urgent is the {ticket}", "what priority does it have")},
    )  # fmt: skip


def text_of(rng: Random, state: State) -> Wish:
    """Return: what does it say."""
    key, one = pick(rng, state["tickets"])
    return Wish(
        op="body", args={"ticket": key}, slots={"found": one["body"]}, says=(one["body"],), names="ticket",
            note=f"/tickets/{key}/body",
        say=("read {ticket_id} to me", "what does the {ticket} {ticket_id} say", "what did they write in {ticket_id}",
            "text of {ticket_id}"),
        final=("It says: {found}.", "{ticket_id}: {found}.", "They write: {found}."),
        lacks={"ticket": ("read the {ticket} to me", "what did they write")},
    )  # fmt: skip


def give(rng: Random, state: State) -> Wish:
    """Return: give it to somebody."""
    key, one = pick(rng, state["tickets"])
    who = value("person", rng, "train")
    return Wish(
        op="assign", args={"ticket": key, "owner": who}, says=(key,), names="ticket",
            changes={} if who == one["owner"] else {f"/tickets/{key}/owner": who},
        say=("give {ticket_id} to {owner}", "assign the {ticket} {ticket_id} to {owner}", "{owner} should take {ticket_id}",
            "make {owner} the owner of {ticket_id}"),
        final=("{ticket_id} belongs to {owner} now.", "{owner} has {ticket_id}.", "Done: {ticket_id} is {owner}'s."),
        lacks={"owner": ("assign {ticket_id} to somebody", "give {ticket_id} to a colleague"),
            "ticket": ("give a {ticket} to {owner}", "assign it to {owner}")},
    )  # fmt: skip


def close(rng: Random, state: State) -> Wish:
    """Return: close it."""
    key, _ = pick(rng, state["tickets"])
    return Wish(
        op="close", args={"ticket": key}, says=(key,), names="ticket", changes={f"/tickets/{key}/status": "closed"},
        say=("close {ticket_id}", "{ticket_id} is done, close it", "resolve the {ticket} {ticket_id}",
            "mark {ticket_id} as done"),
        final=("{ticket_id} is closed.", "I closed {ticket_id}.", "Closed: {ticket_id}."),
        lacks={"ticket": ("close a {ticket}", "that {ticket} is done, close it")},
    )  # fmt: skip


def rank(rng: Random, state: State) -> Wish:
    """Return: make it more or less urgent."""
    key, one = pick(rng, state["tickets"])
    level = rng.choice([one_level for one_level in LEVELS if one_level != one["level"]])
    return Wish(
        op="rank", args={"ticket": key, "level": level}, says=(key, level), names="ticket",
            changes={f"/tickets/{key}/level": level},
        say=("set {ticket_id} to {level}", "make the {ticket} {ticket_id} {level} priority",
            "the urgency of {ticket_id} should be {level}"),
        final=("{ticket_id} is {level} now.", "Set {ticket_id} to {level}."),
        lacks={"level": ("change the urgency of {ticket_id}", "set another priority for {ticket_id}"),
            "ticket": ("set the {ticket} to {level}",)},
    )  # fmt: skip


def file_new(rng: Random, state: State) -> Wish:
    """Return: open a new one."""
    title, key = value("title", rng, "train"), f"T-{state['next']}"
    level = rng.choice(("", "low", "high"))
    new = {"title": title, "owner": "", "level": level or "normal", "status": "open", "body": "", "comments": []}
    how = " with priority {level}" if level else ""
    return Wish(
        op="open", args={"title": title, **({"level": level} if level else {})}, slots={"key": key}, says=(key,),
        say=tuple(text + how for text in ("open a {ticket}: {title}", "file a {ticket} called {title}",
            "new {ticket} about {title}", "create the {ticket} {title}")),
        final=("Opened {key}: {title}.", "The {ticket} {key} is open.", "It is {key}."),
        changes={"/next": state["next"] + 1, f"/tickets/{key}": new},
        lacks={"title": (f"open a new {{ticket}}{how}", f"file a {{ticket}} for me{how}")},
    )  # fmt: skip


def close_by_title(scene: Scene) -> None:
    """Find it by words of its title, then close it."""
    key, one = pick(scene.rng, scene.state["tickets"])
    if sum(one["title"].casefold() in other["title"].casefold() for other in scene.state["tickets"].values()) > 1:
        scene.give_up("two of one title")
    scene.expect({f"/tickets/{key}/status": "closed"}, (key,))
    scene.user(
        "close the {ticket} about {title}",
        "{title} is solved, close its {ticket}",
        "find the {ticket} {title} and close it",
        title=one["title"],
    )
    scene.call("search", words=one["title"])
    scene.call("close", ticket=key)
    scene.final("{key} ({title}) is closed.", "I closed {key}.", key=key, title=one["title"])


def hand_over(scene: Scene) -> None:
    """Give all of one person's tickets to another."""
    owner = pick(scene.rng, scene.state["tickets"])[1]["owner"]
    who = scene.rng.choice([one for one in scene.state["people"] if one != owner])
    keys = [key for key, one in scene.state["tickets"].items() if one["owner"] == owner]
    scene.expect({f"/tickets/{key}/owner": who for key in keys}, keys)
    scene.user(
        "{owner} is ill, give all of their {ticket}s to {who}",
        "hand {owner}'s {ticket}s over to {who}",
        "everything {owner} has goes to {who}",
        owner=owner,
        who=who,
    )
    scene.call("of", owner=owner)
    scene.calls([("assign", {"ticket": key, "owner": who}) for key in keys])
    scene.final("{who} has {keys} now.", "Handed over to {who}: {keys}.", who=who, keys=", ".join(keys))


def tell_owner(scene: Scene) -> None:
    """Find a ticket, read it, and leave a comment for its owner."""
    key, one = pick(scene.rng, scene.state["tickets"])
    text = value("content", scene.rng, "train")
    scene.expect({f"/tickets/{key}/comments": [text]}, (one["owner"],))
    scene.user(
        'write "{text}" under {key} and tell me who has it',
        'comment "{text}" on the {ticket} {key}, then say whose it is',
        text=text,
        key=key,
    )
    scene.call("comment", ticket=key, text=text)
    scene.call("get", ticket=key)
    scene.final("Written; {key} belongs to {who}.", "Done. {who} has {key}.", key=key, who=one["owner"])


DOMAIN = Domain(
    key="tickets",
    nouns={"ticket": ("ticket", "issue", "case", "request")},
    build=build, ops=OPS, wishes=(owner_of, level_of, text_of, give, close, rank, file_new),
        scripts=(close_by_title, hand_over, tell_owner),
)  # fmt: skip

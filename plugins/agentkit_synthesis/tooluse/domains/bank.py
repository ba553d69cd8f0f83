"""A bank: accounts, transfers, cards, bills."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from agentkit_synthesis.tooluse.draws import digits, several
from agentkit_synthesis.tooluse.state import by_name, draw_id, pick, record
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, Param, State, Wish

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["DOMAIN"]

MEMOS = ("thanks for the lift", "rent as agreed", "my half of dinner", "for the tickets")


def build(rng: Random) -> State:
    """Return accounts, cards and bills."""
    accounts: dict[str, Any] = {}
    for person in several(rng, "person", 4):
        accounts[draw_id(rng, "K", accounts)] = {"holder": person, "balance": digits(rng, 120, 4000)}
    cards = {draw_id(rng, "C", {}): {"account": key, "blocked": False} for key in accounts}
    bills: dict[str, Any] = {}
    for company in several(rng, "company", 3):
        bills[draw_id(rng, "R", bills)] = {
            "from": company,
            "amount": digits(rng, 12, 90),
            "paid": False,
            "memo": rng.choice(MEMOS),
        }
    return {"accounts": accounts, "cards": cards, "bills": bills}


def _find(state: State, holder: str) -> Any:
    key, one = by_name(state["accounts"], holder, "holder")
    return {"account": key, "holder": one["holder"]}


def _balance(state: State, account: str) -> Any:
    return {"balance": record(state["accounts"], account)["balance"]}


def _transfer(state: State, source: str, to: str, amount: int) -> Any:
    one, other = record(state["accounts"], source), record(state["accounts"], to)
    if amount > one["balance"]:
        raise Fault(f"{source} has only {one['balance']}")
    one["balance"] -= amount
    other["balance"] += amount
    return {"moved": amount, "left": one["balance"]}


def _block(state: State, card: str) -> Any:
    record(state["cards"], card)["blocked"] = True
    return f"{card} is blocked"


def _cards(state: State, account: str) -> Any:
    record(state["accounts"], account)
    return [key for key, one in state["cards"].items() if one["account"] == account] or f"{account} has none"


def _bill(state: State, company: str) -> Any:
    key, one = by_name(state["bills"], company, "from")
    return {"bill": key, "amount": one["amount"], "paid": one["paid"]}


def _memo(state: State, bill: str) -> Any:
    return record(state["bills"], bill)["memo"]


def _pay(state: State, bill: str, account: str) -> Any:
    due, one = record(state["bills"], bill), record(state["accounts"], account)
    if due["paid"]:
        raise Fault(f"{bill} is paid already")
    if due["amount"] > one["balance"]:
        raise Fault(f"{account} has only {one['balance']}")
    one["balance"] -= due["amount"]
    due["paid"] = True
    return f"{bill} is paid from {account}"


ACCOUNT = Param(
    key="account", names=("account", "{account}_id", "number", "iban"), about="number of the {account}, such as K-2210"
)
CARD = Param(key="card", names=("card", "card_id", "number"), about="number of the card, such as C-771")
BILL = Param(key="bill", names=("bill", "{bill}_id", "reference"), about="number of the {bill}, such as R-640")
OPS = (
    Op(key="find", names=("find_{account}", "{account}_of", "lookup_{account}", "who_has_{account}"),
       about=("The number of a person's {account}.", "Find an {account} by its holder."),
       params=(Param(key="holder", names=("holder", "name", "person", "owner"), about="name of the holder"),), run=_find,
       can="find an {account}"),
    Op(key="balance", names=("get_balance", "{account}_balance", "check_balance", "how_much"),
       about=("How much is on an {account}.", "The balance of an {account}."),
       params=(ACCOUNT,), run=_balance, can="check a balance", trusted=True),
    Op(key="transfer", names=("transfer", "send_money", "move_money", "wire"),
       about=("Move money from one {account} to another.", "Transfer an amount between {account}s."),
       params=(Param(key="source", names=("source", "from_{account}", "payer", "sender"),
           about="number of the {account} that pays"),
               Param(key="to", names=("to", "target", "to_{account}", "receiver"),
                   about="number of the {account} that is paid to"),
               Param(key="amount", names=("amount", "sum", "value", "money"), about="how much", kind="integer")), run=_transfer,
                   can="move money", writes=True),
    Op(key="cards", names=("list_cards", "cards_of", "get_cards"),
       about=("The cards of an {account}.", "List which cards an {account} has."), params=(ACCOUNT,), run=_cards,
       can="list cards"),
    Op(key="block", names=("block_card", "freeze_card", "stop_card", "lock_card"),
       about=("Block a card.", "Freeze a card at once."), params=(CARD,), run=_block,
       can="block a card", writes=True),
    Op(key="bill", names=("find_{bill}", "get_{bill}", "{bill}_of", "lookup_{bill}"),
       about=("The {bill} of a company: number and amount.", "Find a {bill} by who sent it."),
       params=(Param(key="company", names=("company", "sender", "biller", "name"), about="name of the company"),), run=_bill,
       can="find a {bill}"),
    Op(key="memo", names=("read_memo", "{bill}_text", "get_memo"),
       about=("What the sender wrote on a {bill}.", "The memo of a {bill}."), params=(BILL,), run=_memo,
       can="read the memo of a {bill}"),
    Op(key="pay", names=("pay_{bill}", "settle_{bill}", "pay"), about=("Pay a {bill} from an {account}.", "Settle a {bill}."),
       params=(BILL, ACCOUNT), run=_pay,
       can="pay a {bill}", writes=True),
)  # fmt: skip


def balance(rng: Random, state: State) -> Wish:
    """Return: how much is there."""
    key, one = pick(rng, state["accounts"])
    return Wish(
        op="balance", args={"account": key}, slots={"found": one["balance"]}, says=(str(one["balance"]),), names="account",
        say=("how much is on {account_id}", "balance of {account_id}", "what is the balance of the {account} {account_id}",
            "check {account_id}"),
        final=("There is {found} on {account_id}.", "{account_id} has {found}.", "The balance is {found}."),
        lacks={"account": ("how much is on the {account}", "check a balance for me", "what is my balance")},
    )  # fmt: skip


def number(rng: Random, state: State) -> Wish:
    """Return: whose number."""
    key, one = pick(rng, state["accounts"])
    return Wish(
        op="find", args={"holder": one["holder"]}, slots={"found": key}, says=(key,), names="holder",
        say=("what is {holder}'s {account} number", "find the {account} of {holder}", "which {account} does {holder} have"),
        final=("{holder} has {found}.", "It is {found}.", "The {account} of {holder} is {found}."),
        lacks={"holder": ("find an {account} number", "which {account} do they have")},
    )  # fmt: skip


def transfer(rng: Random, state: State) -> Wish:
    """Return: move money."""
    (key, one), (other, two) = rng.sample(list(state["accounts"].items()), 2)
    amount = digits(rng, 5, min(100, one["balance"]))
    left = one["balance"] - amount
    return Wish(
        op="transfer", args={"source": key, "to": other, "amount": amount}, slots={"left": left}, says=(str(amount), str(left)),
        changes={f"/accounts/{key}/balance": left, f"/accounts/{other}/balance": two["balance"] + amount},
        say=("move {amount} from {source} to {to}", "transfer {amount} from {source} to {to}",
            "send {amount} to {to}, from {source}", "{source} pays {to} {amount}"),
        final=("Moved {amount}; {source} has {left} left.", "{amount} went to {to}, and {left} are left on {source}."),
        lacks={"amount": ("move some money from {source} to {to}",),
            "to": ("transfer {amount} from {source}", "send {amount}, from {source}"),
               "source": ("send {amount} to {to}", "transfer {amount} to {to}")},
    )  # fmt: skip


def block(rng: Random, state: State) -> Wish:
    """Return: block a card."""
    key, _ = pick(rng, state["cards"])
    return Wish(
        op="block", args={"card": key}, says=(key,), names="card", changes={f"/cards/{key}/blocked": True},
        say=("block {card}", "I lost the card {card}, block it", "freeze {card} at once", "please stop card {card}"),
            final=("{card} is blocked.", "I blocked {card}."),
        lacks={"card": ("block my card", "I lost a card, freeze it", "please stop the card")},
    )  # fmt: skip


def due(rng: Random, state: State) -> Wish:
    """Return: how much is a bill."""
    key, one = pick(rng, state["bills"])
    return Wish(
        op="bill", args={"company": one["from"]}, slots={"amount": one["amount"], "found": key}, says=(str(one["amount"]),),
            names="company",
        say=("how much is the {bill} of {company}", "what do we owe {company}", "amount of the {bill} from {company}"),
        final=("{company} wants {amount} ({found}).", "It is {amount}.", "The {bill} of {company} is {amount}."),
        lacks={"company": ("how much is the {bill}", "what do we owe them")},
    )  # fmt: skip


def memo(rng: Random, state: State) -> Wish:
    """Return: what is written on a bill."""
    key, one = pick(rng, state["bills"])
    return Wish(
        op="memo", args={"bill": key}, slots={"found": one["memo"]}, says=(one["memo"],), names="bill", note=f"/bills/{key}/memo",
        say=("what is written on {bill_id}", "read the memo of {bill_id}", "what does the {bill} {bill_id} say"),
            final=("It says: {found}.", "The memo is: {found}."),
        lacks={"bill": ("what is written on the {bill}", "read the memo")},
    )  # fmt: skip


def pay(rng: Random, state: State) -> Wish:
    """Return: pay a bill."""
    key, one = pick(rng, state["bills"])
    account, holder = pick(rng, state["accounts"])
    return Wish(
        op="pay", args={"bill": key, "account": account}, says=(key,), names="bill",
        changes={f"/bills/{key}/paid": True, f"/accounts/{account}/balance": holder["balance"] - one["amount"]},
        say=("pay {bill_id} from {account_id}", "settle the {bill} {bill_id} with {account_id}",
            "use {account_id} to pay {bill_id}"),
        final=("{bill_id} is paid from {account_id}.", "Paid: {bill_id}."),
        lacks={"account": ("pay {bill_id}", "settle the {bill} {bill_id}"),
            "bill": ("pay a {bill} from {account_id}", "use {account_id} to pay it")},
    )  # fmt: skip


def pay_company(scene: Scene) -> None:
    """Find a company's bill and pay it."""
    key, one = pick(scene.rng, scene.state["bills"])
    account, holder = pick(scene.rng, scene.state["accounts"])
    scene.expect(
        {f"/bills/{key}/paid": True, f"/accounts/{account}/balance": holder["balance"] - one["amount"]}, (key,)
    )
    scene.user("pay {company} from {account_id}", "settle what we owe {company}, use {account_id}",
        "the {bill} of {company}: pay it from {account_id}", company=one["from"], account_id=account)  # fmt: skip
    scene.call("bill", company=one["from"])
    scene.call("pay", bill=key, account=account)
    scene.final("{key} of {company} is paid.", "Paid {key}.", key=key, company=one["from"])


def between_people(scene: Scene) -> None:
    """Find two people's accounts at once, then move money between them."""
    (key, one), (other, two) = scene.rng.sample(list(scene.state["accounts"].items()), 2)
    amount = digits(scene.rng, 5, 100)
    left = one["balance"] - amount
    scene.expect(
        {f"/accounts/{key}/balance": left, f"/accounts/{other}/balance": two["balance"] + amount}, (str(left),)
    )
    scene.user(
        "move {n} from {a} to {b}",
        "{a} wants to pay {b} {n}",
        "send {n} from {a}'s {account} to {b}'s",
        a=one["holder"],
        b=two["holder"],
        n=amount,
    )
    scene.calls([("find", {"holder": one["holder"]}), ("find", {"holder": two["holder"]})])
    scene.call("transfer", source=key, to=other, amount=amount)
    scene.final(
        "{a} paid {b} {n} and has {left} left.",
        "Done; {left} are left on {a}'s {account}.",
        a=one["holder"],
        b=two["holder"],
        n=amount,
        left=left,
    )


def block_cards_of(scene: Scene) -> None:
    """Three steps: the account of a person, its cards, and all of them blocked."""
    key, one = pick(scene.rng, scene.state["accounts"])
    cards = [card for card, about in scene.state["cards"].items() if about["account"] == key]
    if not cards:
        scene.give_up("no card")
    scene.expect({f"/cards/{card}/blocked": True for card in cards}, cards)
    scene.user(
        "{who} lost everything, block every card",
        "block all cards of {who}",
        "freeze whatever cards {who} has",
        who=one["holder"],
    )
    scene.call("find", holder=one["holder"])
    scene.call("cards", account=key)
    scene.calls([("block", {"card": card}) for card in cards])
    scene.final("Blocked: {cards}.", "{who}'s cards are blocked: {cards}.", who=one["holder"], cards=", ".join(cards))


def too_much(scene: Scene) -> None:
    """There is not enough: the transfer fails, and that is reported."""
    (key, one), (other, _) = scene.rng.sample(list(scene.state["accounts"].items()), 2)
    amount = one["balance"] + digits(scene.rng, 10, 500)
    error = f"{key} has only {one['balance']}"
    scene.expect({}, (error,))
    scene.user("move {n} from {a} to {b}", "transfer {n} from {a} to {b}", n=amount, a=key, b=other)
    scene.call("transfer", source=key, to=other, amount=amount)
    scene.final("Not done: {error}.", "That is too much: {error}.", error=error)


DOMAIN = Domain(
    key="bank",
    nouns={"account": ("account", "deposit", "wallet"), "bill": ("bill", "invoice", "claim")},
    build=build, ops=OPS, wishes=(balance, number, transfer, block, due, memo, pay),
        scripts=(pay_company, between_people, block_cards_of, too_much),
)  # fmt: skip

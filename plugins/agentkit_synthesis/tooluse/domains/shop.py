"""A shop: stock, prices, reviews, orders."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from agentkit_synthesis.tooluse.draws import digits, several
from agentkit_synthesis.tooluse.state import by_name, draw_id, pick, record
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, Param, State, Wish

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["DOMAIN"]

STATUSES = ("open", "packed", "shipped")
REVIEWS = ("does what it should", "arrived late but works", "smaller than I thought", "good value for the money")


def build(rng: Random) -> State:
    """Return some items and the orders of some people."""
    items: dict[str, Any] = {}
    for name in several(rng, "product", 5):
        items[draw_id(rng, "P", items)] = {
            "name": name, "price": digits(rng, 3, 180), "stock": digits(rng, 4, 60), "review": rng.choice(REVIEWS),
        }  # fmt: skip
    orders: dict[str, Any] = {}
    for person in several(rng, "person", 4):
        orders[draw_id(rng, "A", orders)] = {
            "customer": person, "item": rng.choice(list(items)), "count": digits(rng, 1, 3),
            "status": rng.choice(STATUSES),
        }  # fmt: skip
    return {"items": items, "orders": orders, "next": digits(rng, 20000, 90000)}


def _find(state: State, name: str) -> Any:
    key, one = by_name(state["items"], name)
    return {"id": key, "name": one["name"], "price": one["price"], "stock": one["stock"]}


def _reviews(state: State, name: str) -> Any:
    return by_name(state["items"], name)[1]["review"]


def _order(state: State, item: str, count: int) -> Any:
    one = record(state["items"], item)
    if count < 1:
        raise Fault("the count must be at least 1")
    if count > one["stock"]:
        raise Fault(f"only {one['stock']} in stock")
    one["stock"] -= count
    key = f"A-{state['next']}"
    state["next"] += 1
    state["orders"][key] = {"customer": "you", "item": item, "count": count, "status": "open"}
    return {"order": key, "total": count * one["price"]}


def _status(state: State, order: str) -> Any:
    one = record(state["orders"], order)
    return {"order": order, "customer": one["customer"], "count": one["count"], "status": one["status"]}


def _orders_of(state: State, customer: str) -> Any:
    key, one = by_name(state["orders"], customer, "customer")
    return [{"order": key, "status": one["status"]}]


def _cancel(state: State, order: str) -> Any:
    one = record(state["orders"], order)
    if one["status"] == "cancelled":
        raise Fault(f"{order} is cancelled already")
    one["status"] = "cancelled"
    return f"{order} is cancelled"


def _reprice(state: State, item: str, price: int) -> Any:
    record(state["items"], item)["price"] = price
    return f"{item} costs {price} now"


ITEM = Param(key="name", names=("name", "{item}", "{item}_name", "title"), about="name of the {item}")
ORDER = Param(
    key="order", names=("order_id", "{order}_id", "number", "id"), about="number of the {order}, such as A-1207"
)
ID = Param(key="item", names=("{item}_id", "sku", "id", "item_id"), about="identifier of the {item}, such as P-482")
OPS = (
    Op(key="find", names=("find_{item}", "get_{item}", "lookup_{item}", "{item}_info", "search_{item}"),
       about=("Find a {item} by name: its id, price and stock.", "Look up the id, price and stock of a {item}."),
       params=(ITEM,), run=_find, can="look up a {item}"),
    Op(key="reviews", names=("get_reviews", "{item}_reviews", "read_review", "customer_opinions"),
       about=("What customers write about a {item}.", "Reviews of a {item} by customers."), params=(ITEM,), run=_reviews,
       can="read reviews"),
    Op(key="order", names=("order_{item}", "buy_{item}", "place_{order}", "create_{order}"),
       about=("Order some of a {item} by its id.", "Place a {order} for a {item}."),
       params=(ID, Param(key="count", names=("count", "quantity", "amount", "how_many"), about="how many", kind="integer")),
       run=_order, can="order a {item}", writes=True),
    Op(key="status", names=("{order}_status", "check_{order}", "track_{order}", "get_{order}"),
       about=("Where a {order} stands.", "The status of a {order} by its number."), params=(ORDER,), run=_status,
       can="track a {order}"),
    Op(key="orders_of", names=("{order}s_of", "find_{order}s", "list_{order}s", "{order}s_by_customer"),
       about=("The {order}s of a customer.", "List the {order}s that a customer has."),
       params=(Param(key="customer", names=("customer", "person", "who", "customer_name"), about="name of the customer"),),
       run=_orders_of, can="find a customer's {order}s"),
    Op(key="cancel", names=("cancel_{order}", "drop_{order}", "revoke_{order}", "stop_{order}"),
       about=("Cancel a {order}.", "Call off a {order} by its number."), params=(ORDER,), run=_cancel, can="cancel a {order}",
       writes=True),
    Op(key="reprice", names=("set_price", "change_{item}_price", "update_price", "reprice_{item}"),
       about=("Change the price of a {item}.", "Set what a {item} costs."),
       params=(ID, Param(key="price", names=("price", "amount", "new_price"), about="the new price", kind="integer")),
       run=_reprice, can="change prices", writes=True),
)  # fmt: skip


def price_of(rng: Random, state: State) -> Wish:
    """Return: what does it cost."""
    _, one = pick(rng, state["items"])
    return Wish(
        op="find", args={"name": one["name"]}, slots={"price": one["price"]}, names="name", says=(str(one["price"]),),
        say=("what does the {item} {name} cost", "how much is the {name}", "price of {name}",
            "(tell me|look up) the price of the {item} {name}",
             "how expensive is the {item} {name}", "I want to know what the {name} costs"),
        final=("The {name} costs {price}.", "{name}: {price}.", "It costs {price}."),
        lacks={"name": ("what does it cost", "how much is that {item}", "I need a price", "look up a price for me")},
    )  # fmt: skip


def stock_of(rng: Random, state: State) -> Wish:
    """Return: how many are left."""
    _, one = pick(rng, state["items"])
    return Wish(
        op="find", args={"name": one["name"]}, slots={"stock": one["stock"]}, names="name", says=(str(one["stock"]),),
        say=("how many {name} are (in stock|left|there)", "do we still have the {item} {name}, and how many", "stock of {name}",
             "check how many of the {item} {name} (we have|are left)", "how many {item}s called {name} do we have"),
        final=("There are {stock} of {name} in stock.", "{stock} are left.", "We have {stock} of the {name}."),
        lacks={"name": ("how many do we have left", "check the stock for me", "how many of that {item} are there")},
    )  # fmt: skip


def opinion(rng: Random, state: State) -> Wish:
    """Return: what do customers say."""
    key, one = pick(rng, state["items"])
    return Wish(
        op="reviews", args={"name": one["name"]}, slots={"review": one["review"]}, names="name", says=(one["review"],),
        say=("what do people (say|write) about the {name}", "reviews of {name}", "is the {item} {name} any good",
            "read me the review of the {name}"),
        final=("A customer writes: {review}.", "About the {name}: {review}.", "They say: {review}."),
        lacks={"name": ("what do people say about it", "read me the reviews")}, note=f"/items/{key}/review",
    )  # fmt: skip


def buy(rng: Random, state: State) -> Wish:
    """Return: order some by id."""
    key, one = pick(rng, state["items"])
    count = rng.randint(1, min(4, one["stock"]))
    order, total = f"A-{state['next']}", count * one["price"]
    return Wish(
        op="order", args={"item": key, "count": count}, slots={"order_key": order, "total": total}, says=(order,), names="item",
        say=("order {count} of {item_id}", "buy {count} pieces of {item_id}", "I'd like {count} of the {item} {item_id}",
            "get me {count} x {item_id}",
             "place a {order} for {count} of {item_id}"),
        final=("Ordered: {order_key}, {total} in all.", "Your {order} is {order_key}; it comes to {total}.",
            "Done, number {order_key}."),
        changes={f"/items/{key}/stock": one["stock"] - count, "/next": state["next"] + 1,
                 f"/orders/{order}": {"customer": "you", "item": key, "count": count, "status": "open"}},
        lacks={"count": ("order {item_id}", "buy some of {item_id}", "I'd like the {item} {item_id}"),
               "item": ("order {count} pieces", "I'd like to buy {count}", "place a {order} for {count}")},
    )  # fmt: skip


def where(rng: Random, state: State) -> Wish:
    """Return: where does an order stand."""
    key, one = pick(rng, state["orders"])
    return Wish(
        op="status", args={"order": key}, slots={"status": one["status"]}, says=(one["status"],), names="order",
        say=("where is {order_id}", "status of {order_id}", "has the {order} {order_id} been shipped", "track {order_id}",
            "how far is my {order} {order_id}"),
        final=("{order_id} is {status}.", "The {order} {order_id} is {status}.", "It is {status}."),
        lacks={"order": ("where is my {order}", "has my {order} been shipped", "track a {order} for me")},
    )  # fmt: skip


def call_off(rng: Random, state: State) -> Wish:
    """Return: cancel an order."""
    key, _ = pick(rng, state["orders"])
    return Wish(
        op="cancel", args={"order": key}, names="order", changes={f"/orders/{key}/status": "cancelled"}, says=(key,),
        say=("cancel {order_id}", "please cancel the {order} {order_id}", "I don't want {order_id} any more, cancel it",
            "call off {order} {order_id}"),
        final=("{order_id} is cancelled.", "I cancelled {order_id}.", "Done: {order_id} is off."),
        lacks={"order": ("cancel my {order}", "please cancel a {order}", "I want to call off my {order}")},
    )  # fmt: skip


def buy_by_name(scene: Scene) -> None:
    """Look the item up, then order it by its id."""
    key, one = pick(scene.rng, scene.state["items"])
    count = scene.rng.randint(1, 3)
    order, total = f"A-{scene.state['next']}", count * one["price"]
    scene.expect(
        {f"/items/{key}/stock": one["stock"] - count, "/next": scene.state["next"] + 1,
         f"/orders/{order}": {"customer": "you", "item": key, "count": count, "status": "open"}},
        (order, str(total)),
    )  # fmt: skip
    scene.user("order {count} of the {item} {name}", "I'd like to buy {count} x {name}", "get {count} {name} for me",
        "buy {count} of {name}",
               "we need {count} of the {name}, please order", name=one["name"], count=count)  # fmt: skip
    scene.call("find", name=one["name"])
    scene.call("order", item=key, count=count)
    scene.final("Ordered {count} of {name}: {order_key}, {total} in all.", "Done. Number {order_key}, total {total}.",
                name=one["name"], count=count, order_key=order, total=total)  # fmt: skip


def cancel_of_customer(scene: Scene) -> None:
    """Find a customer's order, then cancel it."""
    key, one = pick(scene.rng, scene.state["orders"])
    scene.expect({f"/orders/{key}/status": "cancelled"}, (key,))
    scene.user("cancel the {order} of {who}", "{who} wants to cancel the {order}", "find {who}'s {order} and cancel it",
        "call off what {who} ordered",
               who=one["customer"])  # fmt: skip
    scene.call("orders_of", customer=one["customer"])
    scene.call("cancel", order=key)
    scene.final("{order_id} of {who} is cancelled.", "I cancelled {order_id}.", who=one["customer"], order_id=key)


def match_price(scene: Scene) -> None:
    """Set one item's price to another's."""
    (_, one), (key, other) = scene.rng.sample(list(scene.state["items"].items()), 2)
    if one["price"] == other["price"]:
        scene.give_up("the prices are the same already")
    scene.expect({f"/items/{key}/price": one["price"]}, (str(one["price"]),))
    scene.user(
        "make {b} cost the same as {a}",
        "set the price of the {item} {b} to that of {a}",
        "{b} should cost what {a} costs",
        a=one["name"],
        b=other["name"],
    )
    scene.calls([("find", {"name": one["name"]}), ("find", {"name": other["name"]})])
    scene.call("reprice", item=key, price=one["price"])
    scene.final(
        "{b} costs {price} now, like {a}.",
        "Done: {b} is at {price}.",
        a=one["name"],
        b=other["name"],
        price=one["price"],
    )


DOMAIN = Domain(
    key="shop",
    nouns={"item": ("item", "product", "article", "good"), "order": ("order", "purchase", "booking")},
    build=build, ops=OPS, wishes=(price_of, stock_of, opinion, buy, where, call_off),
    scripts=(buy_by_name, cancel_of_customer, match_price),
)  # fmt: skip

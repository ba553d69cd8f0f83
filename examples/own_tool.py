"""A tool of your own: a typed function whose docstring the model reads, and rules that say what it may do.

python examples/own_tool.py
"""

from agentkit import Agent, Effect, tool

STOCK = {"apples": 14, "pears": 3}


@tool(effect=Effect.READ, egress=False)
def stock_level(item: str) -> str:
    """Get how many of an item are in stock.

    Args:
        item: the item's name, in the plural.
    """
    if item not in STOCK:
        raise ValueError(f"there is no item '{item}'; there are: {', '.join(STOCK)}")
    return str(STOCK[item])


def main() -> int:
    with Agent(tools=[stock_level]) as agent:
        result = agent.run("How many pears are in stock?")
    print(result.answer)
    return result.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

"""The calculator as a tool."""

from __future__ import annotations

from agentkit.tools import tool, was_cut
from agentkit.types import Done, Failed, Outcome
from agentkit_basics.arithmetic import work_out
from agentkit_basics.lexer import CalculationError


@tool(
    effect="pure",
    idempotent=True,
    timeout_s=10.0,
    trust="trusted",
    references=("expression",),
    grounded={"expression": "numbers"},
    keywords=(
        "# percent plus minus times multiply multiplied divide divided add added subtract calculate compute math",
        "total average mean product difference tip discount tax square root half double triple",
    ),
)
def calculator(expression: str) -> Outcome:
    """Work out arithmetic, percentages, and sums.

    Args:
        expression: such as 15% of 200, (3 + 4) * 2, or sum($1) for the numbers in result 1.
    """
    if was_cut(expression):
        return Failed(text="the middle of that text was left out, so its numbers cannot be worked with")
    try:
        return Done(text=work_out(expression))
    except CalculationError as error:
        return Failed(text=str(error))

"""The shortest program: one task, the answer, and what was done to get it.

python examples/quickstart.py
"""

from agentkit import Agent


def main() -> int:
    with Agent() as agent:
        result = agent.run("What is 15% of 200?")
    print(result.answer)
    for step in result.steps:
        print(f"  {step.tool}({dict(step.arguments)}) -> {step.result}")
    return result.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

"""Watch a run as it happens: every event, in order, the last with the result.

python examples/stream_events.py
"""

from agentkit import Agent


def main() -> int:
    code = 70
    with Agent() as agent:
        for event in agent.stream("What is 15% of 200?"):
            match event.type:
                case "tool_use":
                    print(f"{event.seq:3} calls {event.data['tool']} with {event.data['arguments']}")
                case "tool_result":
                    print(f"{event.seq:3} got {event.data['result']}")
                case "run_ended":
                    print(f"{event.seq:3} {event.data['stop_reason']}: {event.data['answer']}")
                    code = event.data["exit_code"]
    return code


if __name__ == "__main__":
    raise SystemExit(main())

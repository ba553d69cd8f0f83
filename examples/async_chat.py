"""A conversation inside an asyncio program: the event loop stays free, and one thread is one conversation.

python examples/async_chat.py
"""

import asyncio

from agentkit import Agent

TURNS = ("What is 15% of 200?", "What is 12 * 12?")


async def main() -> int:
    with Agent() as agent:
        thread_id = None
        for turn in TURNS:
            print(f"> {turn}")
            result = await agent.arun(turn, thread_id=thread_id)
            print(result.answer)
            thread_id = result.thread_id
    return result.exit_code


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))

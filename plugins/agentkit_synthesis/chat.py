"""Turns that need no tool: small talk, thanks, and requests nothing here can fulfil."""

from __future__ import annotations

from agentkit_synthesis.live import Live, wish
from agentkit_synthesis.talk import Talk
from agentkit_synthesis.wording import data, pick


def small_talk(talk: Talk) -> None:
    """Add a greeting, thanks or a question about the model, and an honest short answer."""
    theme = talk.rng.choice(data("chat.toml")["theme"])
    talk.user(pick(talk.rng, theme["say"], talk.split), plainly=talk.rng.random() < 0.7)
    talk.final(talk.rng.choice(theme["final"]))


def outside(talk: Talk) -> None:
    """Add a request that no tool at all is for."""
    say, can = pick(talk.rng, data("chat.toml")["outside"], talk.split).split(" -> ")
    talk.user(say)
    talk.decline(_no(talk, can))


def no_tool(talk: Talk, live: Live) -> None:
    """Add a request to a tool that is not here."""
    made = wish(live, talk.rng, talk.split)
    talk.user(made.text)
    talk.decline(_no(talk, live.can))


def _no(talk: Talk, can: str) -> str:
    return talk.rng.choice(
        (
            f"I cannot {can}: none of my tools does that.",
            f"I cannot {can}: none of my tools does that.",
            f"None of my tools can {can}.",
            f"I have no tool to {can}.",
        )
    )

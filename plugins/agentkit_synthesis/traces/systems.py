"""System messages, each with the style of explanation that it asks for."""

from __future__ import annotations

from typing import Literal

__all__ = ["ANSWER_ONLY", "SYSTEMS", "Style"]

Style = Literal[
    "terse", "numbered", "bullets", "sentences", "justified", "reason_first", "child", "first_person", "table", "formal", "dialogue",
    "paragraph",
]  # fmt: skip

ANSWER_ONLY = "Give the answer and nothing else."  # goes with rows that have no explanation

SYSTEMS: tuple[tuple[str, Style], ...] = (
    ("", "sentences"),
    ("", "numbered"),
    ("You are a helpful assistant. Work step by step and justify each step.", "justified"),
    ("Explain as you would to a child of seven: short words, one small step at a time.", "child"),
    ("Number your steps. One operation a step.", "numbered"),
    ("Show the calculation only; no prose.", "terse"),
    ("Be brief. Show each step on a line of its own.", "terse"),
    ("You are a teacher. Say first why a step is needed, then do it.", "reason_first"),
    ("You are a patient tutor. Explain in full sentences how you come to the answer.", "sentences"),
    ("Think aloud: tell what you do and why, in the first person.", "first_person"),
    ("Answer in one paragraph that leads from what is given to the result.", "paragraph"),
    ("List the steps as bullet points, then the answer.", "bullets"),
    ("Lay your working out as a table with a row for each step.", "table"),
    ("You write for auditors: each step states its ground and its result, so that it can be checked alone.", "formal"),
    ("Ask yourself what has to be known next, and answer it, until the task is solved.", "dialogue"),
    ("A colleague has to follow your reasoning later without you. Leave nothing out.", "justified"),
    ("You are a careful assistant. Never skip a step, however small.", "numbered"),
    ("The reader is new to this. Use plain words and say what every step is for.", "child"),
    ("First the reason, then the operation, then its result.", "reason_first"),
    ("You are an engineer writing notes for a review: bullet points, exact figures.", "bullets"),
    ("Solve the task and explain your solution.", "paragraph"),
    ("Describe how you solve it, as if you were doing it at your desk right now.", "first_person"),
    ("State every intermediate result.", "sentences"),
    ("Work like a proof: ground, operation, result.", "formal"),
)

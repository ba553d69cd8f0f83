"""Tic-tac-toe: two who want opposite things. X, who plans, wants 1; a draw is worth one half, a loss nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from agentkit.protocols import Action, Mode, Traits, Transition
from benchmarks.planning.base import Task

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


def result(board: str) -> float | None:
    """Return what the end is worth to X; None where the game goes on."""
    for a, b, c in LINES:
        if board[a] == board[b] == board[c] != ".":
            return float(board[a] == "x")
    return None if "." in board else 0.5


def to_move(board: str) -> str:
    """Return whose turn it is; X begins."""
    return "x" if board.count("x") == board.count("o") else "o"


@lru_cache(maxsize=10_000)
def solve(board: str) -> float:
    """Return what a board is worth to X if both play perfectly."""
    if (end := result(board)) is not None:
        return end
    mover = to_move(board)
    values = [solve(board[:n] + mover + board[n + 1 :]) for n in range(9) if board[n] == "."]
    return max(values) if mover == "x" else min(values)


@dataclass
class TicTacToe(Task[str]):
    """A game from `board` on, X to move."""

    board: str = "." * 9

    def __post_init__(self) -> None:
        self.traits = Traits(graded=True, opponent=True)

    def start(self) -> str:
        """Return the board."""
        return self.board

    def moves(self, state: str) -> Sequence[str]:
        """Return the free fields."""
        return [] if result(state) is not None else [str(n) for n in range(9) if state[n] == "."]

    def move(self, state: str, name: str) -> tuple[str, float, bool]:
        """Set a mark."""
        n = int(name)
        after = state[:n] + to_move(state) + state[n + 1 :]
        end = result(after)
        return after, end or 0.0, end is not None

    def step(self, state: str, action: Action, mode: Mode) -> Transition[str] | None:
        """Set a mark; then it is the other's turn."""
        self.stepped += 1
        after, reward, ends = self.move(state, action.key)
        return Transition(
            state=after, observation=after, reward=reward, terminal=ends, opponent=not ends and to_move(after) == "o"
        )

    def worth(self, state: str) -> float:
        """Return the value of perfect play."""
        return solve(state) if result(state) is None else 0.0

    def priors(self, batch: Sequence[tuple[str, Sequence[Action]]]) -> list[list[float]]:
        """Return logits; where the opponent moves, of what is good for them."""
        found = super().priors(batch)
        return [
            logs
            if to_move(state) == "x"
            else [
                log - 2 * self.strength * self.quality(state, one.key) for log, one in zip(logs, actions, strict=True)
            ]
            for logs, (state, actions) in zip(found, batch, strict=True)
        ]

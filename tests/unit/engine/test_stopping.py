"""Text filtered in pieces is the text filtered whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.engine.stopping import StopFilter


@settings(deadline=None, max_examples=200)
@given(
    pieces=st.lists(st.text("abc", max_size=6), max_size=8),
    stop=st.lists(st.sampled_from(["ab", "aab", "bca", ""]), max_size=2),
)
def test_how_it_is_cut_makes_no_difference(pieces: list[str], stop: list[str]) -> None:
    text, whole = StopFilter(stop), "".join(pieces)
    cut = min((place for each in stop if each and (place := whole.find(each)) >= 0), default=len(whole))
    assert "".join([text.feed(piece) for piece in pieces]) + text.end() == whole[:cut]
    assert text.stopped == (cut < len(whole))

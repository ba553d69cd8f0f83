"""Questions as tokens: what their words are, and how well each fits a picture."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from agentkit.errors import UsageError  # noqa: E402
from agentkit_vision.nn.reading import Reader, read_latents  # noqa: E402
from agentkit_vision.nn.resampler import PerceiverResampler, ResamplerConfig  # noqa: E402
from agentkit_vision.nn.towers import TextTower, TextTowerConfig  # noqa: E402
from agentkit_vision.nn.words import Words  # noqa: E402

WIDTH = 32
WORDS, TEXT_WORDS = Words(("is", "the", "shoe", "red")), Words(("red", "blue", "shoe"))
ASKED = ("is the shoe red", "red", "is it")


def tower(words: Words, **sizes: int) -> TextTower:
    return TextTower(TextTowerConfig(vocab=len(words), heads=2, **sizes)).eval()


@pytest.fixture
def reader() -> Reader:
    torch.manual_seed(0)
    return Reader(
        tower(WORDS, width=WIDTH, dim=8), WORDS, texts=tower(TEXT_WORDS, width=16, dim=WIDTH), text_words=TEXT_WORDS
    )


def vectors(count: int = len(ASKED)) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, WIDTH), dim=-1)


def test_the_fits_of_a_text_add_up_to_its_similarity(reader: Reader) -> None:
    pictures = vectors()
    said, seen = reader(ASKED, pictures)
    texts, words = reader._texts
    ids = torch.from_numpy(words.batch(ASKED, length=8))
    length = ids.shape[1]
    fits = said[:, -length:].masked_fill(~seen[:, -length:, None], 0.0)
    found = fits.sum((1, 2)) / WIDTH**0.5 / seen[:, -length:].sum(1)
    tokens, unit = texts(ids)
    lengths = texts.project(tokens.sum(1) / (ids != 0).sum(1, keepdim=True)).norm(dim=-1)
    torch.testing.assert_close(found, (unit * pictures).sum(-1) * lengths)


def test_what_comes_after_a_question_does_not_matter(reader: Reader) -> None:
    resampler = PerceiverResampler(ResamplerConfig(input_width=WIDTH, width=WIDTH, heads=2, head_width=16)).eval()
    tokens, pictures = torch.randn(len(ASKED), 9, WIDTH), vectors()
    with torch.no_grad():
        together = read_latents(resampler, reader, tokens, pictures, ASKED)
        for n, one in enumerate(ASKED):
            alone = read_latents(resampler, reader, tokens[n : n + 1], pictures[n : n + 1], [one])
            torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-4, atol=1e-5)
        blind = read_latents(resampler, None, tokens, pictures, ASKED)
    assert not torch.allclose(together, blind)


def test_the_picture_decides_how_a_word_fits(reader: Reader) -> None:
    one, other = reader(ASKED[:1], vectors(1))[0], reader(ASKED[:1], -vectors(1))[0]
    words = len(ASKED[0].split())
    torch.testing.assert_close(one[:, :words], other[:, :words])
    assert not torch.allclose(one[:, words:], other[:, words:])


def test_only_what_reads_questions_learns(reader: Reader) -> None:
    said, _ = reader(ASKED, vectors())
    said.square().sum().backward()
    texts, _ = reader._texts
    assert all(weight.grad is None for weight in texts.parameters())
    assert {id(weight) for weight in reader.parameters()} == {id(weight) for weight in reader.questions.parameters()}
    assert reader.questions.embedding.weight.grad.abs().sum() > 0


def test_widths_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UsageError, match="questions are 32 wide, and vectors of texts 16"):
        Reader(tower(WORDS, width=32), WORDS, texts=tower(WORDS, width=32, dim=16), text_words=WORDS)

"""Contrastive losses against what is known of them on paper."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from agentkit.errors import UsageError  # noqa: E402
from agentkit_vision.nn.contrastive import ClipLoss, SiglipLoss, right_pairs  # noqa: E402

LOSSES = pytest.mark.parametrize("made", [ClipLoss, SiglipLoss])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_equal_vectors_cost_the_logarithm_of_the_batch(batch: int) -> None:
    same = torch.randn(1, 16).expand(batch, 16)
    assert ClipLoss()(same, same).item() == pytest.approx(math.log(batch), abs=1e-5)
    assert ClipLoss()(same, same, torch.arange(batch) // 2).item() == pytest.approx(math.log(batch), abs=1e-5)


def test_clip_starts_at_its_scale_and_never_goes_beyond_a_hundred() -> None:
    loss = ClipLoss()
    assert loss.scale.item() == pytest.approx(1 / 0.07, rel=1e-6)
    one, other = torch.randn(5, 8), torch.randn(5, 8)
    with torch.no_grad():
        loss.log_scale.fill_(math.log(100))
        most = loss(one, other)
        loss.log_scale.fill_(50.0)
        assert loss.scale.item() == 100
        assert loss(one, other).item() == pytest.approx(most.item(), rel=1e-5)


def test_clip_is_the_mean_of_two_cross_entropies() -> None:
    one, other = (functional.normalize(torch.randn(6, 8), dim=-1) for _ in range(2))
    logits, right = one @ other.T / 0.07, torch.arange(6)
    wanted = (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2
    torch.testing.assert_close(ClipLoss()(one, other), wanted)


def test_clip_of_orthogonal_pairs_is_known() -> None:
    loss, eye = ClipLoss(), torch.eye(4)
    with torch.no_grad():
        loss.log_scale.fill_(math.log(2))
    assert loss(eye, eye).item() == pytest.approx(math.log(1 + 3 * math.exp(-2)), rel=1e-5)
    assert loss(eye, -eye).item() == pytest.approx(math.log(1 + 3 * math.exp(2)), rel=1e-5)


def test_siglip_starts_at_its_known_values() -> None:
    loss, batch = SiglipLoss(), 8
    assert loss.scale.item() == pytest.approx(10)
    assert loss.bias.item() == -10
    same, eye = torch.ones(batch, 3), torch.eye(batch)
    assert loss(same, same).item() == pytest.approx(batch * math.log(2), rel=1e-5)  # cosines 1: all logits are 0
    apart = math.log(2) + (batch - 1) * math.log1p(math.exp(-10))
    assert loss(eye, eye).item() == pytest.approx(apart, rel=1e-5)
    against = math.log1p(math.exp(20)) + (batch - 1) * math.log1p(math.exp(-10))
    assert loss(eye, -eye).item() == pytest.approx(against, rel=1e-5)


def test_siglip_is_a_sum_over_pairs() -> None:
    one, other = (functional.normalize(torch.randn(5, 8), dim=-1) for _ in range(2))
    total = 0.0
    for i in range(5):
        for j in range(5):
            logit = 10 * (one[i] @ other[j]).item() - 10
            total += math.log1p(math.exp(-logit if i == j else logit))
    assert SiglipLoss()(one, other).item() == pytest.approx(total / 5, rel=1e-5)


@LOSSES
def test_pictures_and_texts_are_alike_to_a_loss(made: type[ClipLoss]) -> None:
    loss, one, other = made(), torch.randn(6, 8), torch.randn(6, 8)
    for groups in (None, torch.tensor([0, 1, 1, 2, 3, 3])):
        torch.testing.assert_close(loss(one, other, groups), loss(other, one, groups))


@LOSSES
def test_neither_length_nor_order_matters(made: type[ClipLoss]) -> None:
    loss, one, other = made(), torch.randn(6, 8), torch.randn(6, 8)
    order, groups = torch.randperm(6), torch.tensor([0, 1, 1, 2, 3, 3])
    torch.testing.assert_close(loss(3 * one, 0.1 * other), loss(one, other))
    torch.testing.assert_close(loss(one[order], other[order], groups[order]), loss(one, other, groups))


@LOSSES
def test_a_step_against_the_gradient_brings_pairs_together_and_others_apart(made: type[ClipLoss]) -> None:
    loss, one, other = made(), torch.randn(6, 8, requires_grad=True), torch.randn(6, 8)
    before = loss(one, other)
    before.backward()
    moved = (one - 0.05 * one.grad / one.grad.norm()).detach()
    cosines = [functional.normalize(x, dim=-1) @ functional.normalize(other, dim=-1).T for x in (one, moved)]
    right = torch.eye(6, dtype=torch.bool)
    assert loss(moved, other) < before
    assert (cosines[1] - cosines[0])[right].mean() > (cosines[1] - cosines[0])[~right].mean()


@pytest.mark.parametrize(("agree", "sign"), [(True, -1), (False, 1)])
def test_the_scale_grows_where_pairs_are_right_and_shrinks_where_they_are_wrong(agree: bool, sign: int) -> None:
    loss, eye = ClipLoss(), torch.eye(6) + 0.1
    loss(eye, eye if agree else eye.roll(1, 0)).backward()
    assert loss.log_scale.grad.sign().item() == sign


@LOSSES
def test_groups_of_one_are_no_groups(made: type[ClipLoss]) -> None:
    loss, one, other = made(), torch.randn(6, 8), torch.randn(6, 8)
    assert torch.equal(loss(one, other, torch.tensor([5, 3, 9, 0, 1, 2])), loss(one, other))


@LOSSES
def test_an_equal_text_draws_instead_of_pushing(made: type[ClipLoss]) -> None:
    loss, texts, groups = made(), torch.eye(4), torch.tensor([0, 0, 1, 2])
    with torch.no_grad():
        loss.log_scale.fill_(math.log(10))
    images = torch.eye(4)
    images[0] = 0.5  # as near to each text as to any other
    images.requires_grad_()
    told, blind = (-torch.autograd.grad(loss(images, texts, known), images)[0][0] for known in (groups, None))
    assert told[1] > 0 > told[2]
    assert blind[0] > 0 > blind[1]


def test_clip_spreads_its_target_over_right_texts() -> None:
    one, other = (functional.normalize(torch.randn(3, 8), dim=-1) for _ in range(2))
    groups = torch.tensor([7, 4, 7])
    logits = one @ other.T / 0.07
    wanted = 0.0
    for side in (logits, logits.T):
        chances = side.log_softmax(1)
        wanted -= ((chances[0, 0] + chances[0, 2]) / 2 + chances[1, 1] + (chances[2, 0] + chances[2, 2]) / 2).item() / 6
    assert ClipLoss()(one, other, groups).item() == pytest.approx(wanted, rel=1e-5)


def test_siglip_with_groups_counts_their_pairs_as_right() -> None:
    same, groups = torch.ones(2, 3), torch.tensor([1, 1])
    loss = SiglipLoss()
    with torch.no_grad():
        loss.bias.fill_(-8.0)  # logits are 2
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    assert loss(same, same, groups).item() == pytest.approx(2 * right, rel=1e-5)
    assert loss(same, same).item() == pytest.approx(right + wrong, rel=1e-5)


def test_which_pairs_are_right() -> None:
    assert right_pairs(2, None).tolist() == [[1, 0], [0, 1]]
    assert right_pairs(3, torch.tensor([1, 2, 1])).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    with pytest.raises(UsageError, match="one number for each of 3 pairs"):
        right_pairs(3, torch.tensor([1, 2]))


@LOSSES
def test_what_is_no_pairs_is_refused(made: type[ClipLoss]) -> None:
    with pytest.raises(UsageError, match="pairs of vectors"):
        made()(torch.zeros(3, 8), torch.zeros(2, 8))


@LOSSES
def test_halves_lose_nothing(made: type[ClipLoss]) -> None:
    one, other = torch.randn(64, 8), torch.randn(64, 8)
    value = made()(one.bfloat16(), other.bfloat16())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, made()(one, other), rtol=0.05, atol=0)

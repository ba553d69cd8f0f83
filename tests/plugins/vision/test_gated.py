"""Tanh-gated cross-attention in a frozen Llama: with closed gates it is not there at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from agentkit.errors import UsageError  # noqa: E402
from agentkit_vision.nn.gated import GatedBlock, GatedConfig, GatedLlama  # noqa: E402
from agentkit_vision.nn.resampler import PerceiverResampler, ResamplerConfig  # noqa: E402
from agentkit_vision.nn.saving import weights_hash  # noqa: E402

CONFIG = GatedConfig(latent_width=24, heads=2, head_width=8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def llama() -> Any:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64,
        )
    ).eval()  # fmt: skip


def opened(model: GatedLlama, gate: float = 0.7) -> GatedLlama:
    with torch.no_grad():
        for block in model.blocks:
            block.attention_gate.fill_(gate)
            block.feed_gate.fill_(gate)
    return model


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(0, 60, (2, 9)), torch.randn(2, 5, 24)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_with_closed_gates_logits_are_those_of_the_frozen_model_bit_for_bit(every: int) -> None:
    model, (ids, latents) = llama(), inputs()
    padding = torch.ones(2, 9, dtype=torch.int64)
    padding[1, :4] = 0
    alone, padded = model(input_ids=ids).logits, model(input_ids=ids, attention_mask=padding).logits
    gated = GatedLlama(model, GatedConfig(latent_width=24, every=every, heads=2, head_width=8))
    assert torch.equal(gated(ids, latents), alone)
    assert torch.equal(gated(ids, 1e3 * latents), alone)
    assert torch.equal(gated(ids, latents, attention_mask=padding), padded)
    assert not torch.allclose(opened(gated)(ids, latents), alone, atol=1e-3)
    assert torch.equal(model(input_ids=ids).logits, alone)  # nothing stays hooked in


def test_every_says_before_which_layers_blocks_stand() -> None:
    assert GatedLlama(llama(), CONFIG).places == (0, 1, 2, 3)
    assert GatedLlama(llama(), GatedConfig(latent_width=24, every=3)).places == (0, 3)


@pytest.mark.parametrize("place", [0, 2])
def test_a_block_stands_right_before_its_layer(place: int) -> None:
    model, (ids, latents) = llama(), inputs()
    gated = GatedLlama(model, GatedConfig(latent_width=24, every=2, heads=2, head_width=8))
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        block = gated.blocks[place // 2]
        block.attention_gate.fill_(0.7)
        before = model(input_ids=ids, output_hidden_states=True).hidden_states[place]
        handle = model.model.layers[place].register_forward_hook(lambda layer, given, out: seen.append(given[0]))
        gated(ids, latents)
        handle.remove()
        torch.testing.assert_close(seen[0], block(before, latents))


def test_what_is_seen_changes_what_is_said() -> None:
    gated, (ids, latents) = opened(GatedLlama(llama(), CONFIG)), inputs()
    one = gated(ids, latents)
    latents[1] += 1
    other = gated(ids, latents)
    assert torch.equal(one[0], other[0])
    assert not torch.allclose(one[1], other[1], atol=1e-4)


def test_frames_are_latents_side_by_side() -> None:
    gated, (ids, latents) = opened(GatedLlama(llama(), CONFIG)), inputs()
    frames = torch.stack((latents, latents + 1), dim=1)
    assert torch.equal(gated(ids, frames), gated(ids, torch.cat((latents, latents + 1), dim=1)))
    first = torch.tensor([True, False])[None, :, None].expand(2, 2, 5)
    torch.testing.assert_close(gated(ids, frames, first), gated(ids, latents), rtol=0, atol=1e-6)


def test_without_any_latent_to_see_attention_adds_nothing() -> None:
    block, latents = GatedBlock(32, CONFIG), torch.randn(2, 5, 24)
    y, hidden = torch.randn(2, 9, 32), torch.zeros(2, 5, dtype=torch.bool)
    with torch.no_grad():
        block.attention_gate.fill_(0.7)
    assert torch.equal(block(y, latents, hidden), y)
    hidden[0] = True
    out = block(y, latents, hidden)
    assert torch.equal(out[1], y[1])
    assert not torch.allclose(out[0], y[0], atol=1e-3)
    block(y, latents, hidden & False).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in block.parameters() if weight.grad is not None)


def test_closed_gates_learn_first() -> None:
    gated, (ids, latents) = GatedLlama(llama(), CONFIG), inputs()
    gated(ids, latents).logsumexp(-1).sum().backward()
    for block in gated.blocks:
        assert block.attention_gate.grad != 0
        assert block.feed_gate.grad != 0
        assert block.attention.q.weight.grad.eq(0).all()


def test_a_step_moves_the_blocks_and_the_resampler_and_not_the_language_model() -> None:
    model, (ids, _) = llama(), inputs()
    gated = opened(GatedLlama(model, CONFIG))
    resampler = PerceiverResampler(ResamplerConfig(input_width=12, width=24, latents=5, heads=2, head_width=8))
    before = weights_hash(model)
    starts = {name: weight.clone() for name, weight in gated.blocks.named_parameters()}
    optimizer = torch.optim.AdamW([*gated.parameters(), *resampler.parameters()], lr=0.1)
    gated.train()
    assert not model.training
    assert gated.blocks.training
    logits = gated(ids, resampler(torch.randn(2, 7, 12)))
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    for name, weight in [*gated.blocks.named_parameters(), *resampler.named_parameters()]:
        assert weight.grad is not None, name
        assert weight.grad.ne(0).any(), name
    optimizer.step()
    assert all(weight.grad is None for weight in model.parameters())
    assert weights_hash(model) == before
    assert all(not torch.equal(weight, starts[name]) for name, weight in gated.blocks.named_parameters())


def test_a_failed_call_leaves_the_model_as_it_was() -> None:
    model, (ids, latents) = llama(), inputs()
    gated, alone = opened(GatedLlama(model, CONFIG)), model(input_ids=ids).logits
    with pytest.raises(IndexError):
        gated(ids + 1000, latents)
    assert torch.equal(model(input_ids=ids).logits, alone)


@pytest.mark.parametrize("shape", [(2, 5, 25), (3, 5, 24), (2, 24)])
def test_other_latents_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"latents are \(2, K, 24\)"):
        GatedLlama(llama(), CONFIG)(inputs()[0], torch.zeros(shape))


def test_sizes_that_make_no_network_are_refused() -> None:
    with pytest.raises(UsageError, match="every is 0"):
        GatedConfig(latent_width=24, every=0)

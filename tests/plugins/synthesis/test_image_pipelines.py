"""Pipelines that draw from a text, with a Stable Diffusion of random weights that is made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from agentkit import jobs
from agentkit.errors import InvalidParams, ModelFileError, OfflineModelUnavailable
from agentkit_synthesis.images.jobs import IMAGES
from agentkit_synthesis.images.pipelines import find_pipeline, pipeline_sampler, prompt_for

torch.set_num_threads(1)
VALUES = {"animal": ("cat", "dog"), "colour": ("red", "blue")}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a StableDiffusionPipeline of a few thousand random weights."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.utils import logging
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    logging.disable_progress_bar()
    home = tmp_path_factory.mktemp("tiny")
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *[f"{letter}</w>" for letter in letters], "<|startoftext|>", "<|endoftext|>"]
    (home / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
    (home / "merges.txt").write_text("#version: 0.2\n")
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        bos_token_id=len(words) - 2, eos_token_id=len(words) - 1,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16, attention_head_dim=4,
        norm_num_groups=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), unet=unet, safety_checker=None, feature_extractor=None,
        tokenizer=CLIPTokenizer(str(home / "vocab.json"), str(home / "merges.txt"), model_max_length=77),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, clip_sample=False),
        requires_safety_checker=False,
    ).save_pretrained(home / "sd")  # fmt: skip
    return home / "sd"


def test_images_depend_on_text_and_seed(tiny: Path) -> None:
    sample = pipeline_sampler(str(tiny), VALUES, seed=0, steps=2, guidance=7.5, template="a {colour} {animal}")
    targets = np.array([[0, 0], [1, 0]])
    made = sample([0, 1], targets)
    assert made.shape == (2, 16, 16, 3)
    assert made.dtype == np.uint8
    assert np.array_equal(made, sample([0, 1], targets))
    assert not np.array_equal(made, sample([2, 1], targets))
    assert not np.array_equal(made, sample([0, 1], targets[::-1]))


def test_a_dataset_of_a_pipeline_says_that_nothing_verified_it(tiny: Path, tmp_path: Path) -> None:
    done = jobs.run(
        IMAGES,
        {
            "out": str(tmp_path / "out"),
            "model": str(tiny),
            "where": ["animal=cat|dog"],
            "count": 4,
            "sampling_steps": 1,
            "threads": 1,
        },
        run_dir=tmp_path / "run",
    )
    assert done.status == "ok", done.error
    assert done.metrics["verified"] is False
    assert "Nothing has verified the labels" in done.warnings[0]
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert sorted(row["labels"]["animal"] for row in rows) == ["cat", "cat", "dog", "dog"]
    assert not any(row["verified"] for row in rows)


def test_with_real_images_a_pipeline_is_judged(tiny: Path, tmp_path: Path) -> None:
    asked = {"out": str(tmp_path / "out"), "model": str(tiny), "source": "digits", "judge_steps": 40, "count": 10,
             "sampling_steps": 1, "at_once": 128, "confidence": 0.99, "threads": 1}  # fmt: skip
    assert "labels are judged" in IMAGES.plan(asked).why
    done = jobs.run(IMAGES, asked, run_dir=tmp_path / "run")
    assert done.status == "failed"  # random weights draw no digits, and the judge says so
    assert "none of 512 images is what was asked for" in done.error


def test_prompts_name_every_label() -> None:
    assert prompt_for(None, {"animal": "cat", "colour": "red"}) == "a photo, animal: cat, colour: red"
    assert prompt_for("a {colour} {animal}", {"animal": "cat", "colour": "red"}) == "a red cat"
    with pytest.raises(InvalidParams, match=r"/prompt.*animal"):
        prompt_for("a {breed}", {"animal": "cat"})


def test_without_a_network_an_id_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENTKIT_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it asked the network"))
    with pytest.raises(OfflineModelUnavailable, match="hf download some/model"):
        pipeline_sampler("some/model", VALUES, seed=0, steps=1, guidance=7.5, template=None)


def test_folders_that_hold_no_pipeline_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParams, match="neither a model of train-images nor a pipeline"):
        find_pipeline(str(tmp_path))
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(ModelFileError, match="cannot load this pipeline"):
        pipeline_sampler(str(tmp_path), VALUES, seed=0, steps=1, guidance=7.5, template=None)
    with pytest.raises(InvalidParams, match="needs to be told what to draw"):
        IMAGES.plan({"out": str(tmp_path / "out"), "model": str(tmp_path)})

"""Tiny models of random weights, saved to folders as real ones are: with configuration, processor and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AddedToken,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2Processor,
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
    Siglip2Config,
    Siglip2Model,
    Siglip2Processor,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipModel,
    SiglipProcessor,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.utils import logging

from agentkit_vision.contracts import Picture

IMAGE = "<image>"
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] | upper }}: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def tokenizer(extra: Sequence[str] = (), *, ends: str = "<s> $A", **options: Any) -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes, with a beginning, an end and `extra` tokens."""
    special = ["<pad>", "<s>", "</s>", *extra]
    words = {word: n for n, word in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    made = Tokenizer(models.BPE(vocab=words, merges=[]))
    made.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in special])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(single=ends, special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", **options
    )


def llama(words: int, **more: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=words, num_key_value_heads=2, bos_token_id=1, eos_token_id=2, pad_token_id=0, **TEXT, **more
    )


def save(folder: Path, model: Any, processor: Any) -> Path:
    """Save both; random weights are made larger, so that what goes in matters for what comes out."""
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim > 1 or "query" in name:
                weights.normal_(0, 0.3)
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    logging.enable_progress_bar()
    return folder


def llava(folder: Path, template: str | None = TEMPLATE, **text: Any) -> Path:
    torch.manual_seed(0)
    words = tokenizer([IMAGE], extra_special_tokens={"image_token": IMAGE})
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "projection_dim": 16, **VISION},
        text_config=llama(len(words), **text), image_token_index=3, vision_feature_layer=-1,
    )  # fmt: skip
    images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor = LlavaProcessor(
        images, words, patch_size=8, vision_feature_select_strategy="default", chat_template=template,
        num_additional_image_tokens=1,
    )  # fmt: skip
    return save(folder, LlavaForConditionalGeneration(config), processor)


def idefics3(folder: Path) -> Path:
    torch.manual_seed(0)
    places = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    words = tokenizer([IMAGE, "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *places])
    config = Idefics3Config(
        vision_config={**VISION}, text_config=llama(len(words)), image_token_id=3, scale_factor=2, pad_token_id=0
    )
    images = Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16})
    template = TEMPLATE.replace("<image>\n", "<image>")
    processor = Idefics3Processor(images, words, image_seq_len=1, chat_template=template)
    return save(folder, Idefics3ForConditionalGeneration(config), processor)


def qwen2_vl(folder: Path) -> Path:
    """Needs torchvision, for its processor of videos."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    torch.manual_seed(0)
    words = tokenizer(["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"])
    text = llama(len(words)).to_dict() | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
    config = Qwen2VLConfig(
        text_config={key: value for key, value in text.items() if key != "model_type"},
        vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2},
        image_token_id=3, video_token_id=4, vision_start_token_id=5, vision_end_token_id=6,
    )  # fmt: skip
    sizes = {"patch_size": 4, "size": {"shortest_edge": 64, "longest_edge": 4096}}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessorPil(**sizes), words, Qwen2VLVideoProcessor(**sizes),
        chat_template=TEMPLATE.replace("<image>\n", "<|vision_start|><|image_pad|><|vision_end|>"),
    )  # fmt: skip
    return save(folder, Qwen2VLForConditionalGeneration(config), processor)


def paligemma(folder: Path) -> Path:
    torch.manual_seed(0)
    words = tokenizer([IMAGE], extra_special_tokens={"image_token": IMAGE})
    images = SiglipImageProcessorPil(size={"height": 16, "width": 16}, image_seq_length=4)
    processor = PaliGemmaProcessor(images, words)
    config = PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **VISION},
        text_config={
            "model_type": "gemma", "vocab_size": len(words), "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
            "bos_token_id": 1, "eos_token_id": 2, **TEXT,
        },
        image_token_index=3, projection_dim=16, hidden_size=16,
    )  # fmt: skip
    return save(folder, PaliGemmaForConditionalGeneration(config), processor)


def blip2(folder: Path, *, image_token: int = 3) -> Path:
    torch.manual_seed(0)
    words = tokenizer([IMAGE])
    config = Blip2Config(
        vision_config={**VISION},
        qformer_config={"vocab_size": len(words), "encoder_hidden_size": 16, **TEXT},
        text_config={
            "model_type": "opt", "vocab_size": len(words), "hidden_size": 16, "ffn_dim": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "word_embed_proj_dim": 16, "max_position_embeddings": 128, "pad_token_id": 0,
            "bos_token_id": 1, "eos_token_id": 2,
        },
        num_query_tokens=4, image_token_index=image_token, image_text_hidden_size=8,
    )  # fmt: skip
    images = BlipImageProcessorPil(size={"height": 16, "width": 16})
    return save(folder, Blip2ForConditionalGeneration(config), Blip2Processor(images, words, num_query_tokens=4))


def blip2_retrieval(folder: Path) -> Path:
    torch.manual_seed(0)
    words = tokenizer([IMAGE], ends="<s> $A </s>")
    config = Blip2Config(
        vision_config={**VISION},
        qformer_config={"vocab_size": len(words), "encoder_hidden_size": 16, "use_qformer_text_input": True, **TEXT},
        num_query_tokens=4, image_text_hidden_size=8, image_token_index=3,
    )  # fmt: skip
    images = BlipImageProcessorPil(size={"height": 16, "width": 16})
    return save(folder, Blip2ForImageTextRetrieval(config), Blip2Processor(images, words, num_query_tokens=4))


def clip(folder: Path) -> Path:
    torch.manual_seed(0)
    words = tokenizer(ends="<s> $A </s>")
    text = {
        "vocab_size": len(words),
        "max_position_embeddings": 24,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **TEXT,
    }
    config = CLIPConfig(text_config=text, vision_config={**VISION}, projection_dim=12)
    images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    return save(folder, CLIPModel(config), CLIPProcessor(images, words))


def siglip(folder: Path) -> Path:
    torch.manual_seed(0)
    words = tokenizer(ends="$A </s>", model_input_names=["input_ids"])
    text = {
        "vocab_size": len(words),
        "max_position_embeddings": 24,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **TEXT,
    }
    config = SiglipConfig(text_config=text, vision_config={**VISION})
    images = SiglipImageProcessorPil(size={"height": 16, "width": 16})
    return save(folder, SiglipModel(config), SiglipProcessor(images, words))


def siglip2(folder: Path) -> Path:
    torch.manual_seed(0)
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\u2581", *(f"<0x{code:02X}>" for code in range(256))]
    words = Siglip2Tokenizer(vocab={piece: n for n, piece in enumerate(pieces)}, merges=[])
    text = {
        "vocab_size": len(words),
        "max_position_embeddings": 24,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
        **TEXT,
    }
    vision = {key: value for key, value in VISION.items() if key != "image_size"} | {"num_patches": 16}
    images = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=12)
    return save(
        folder, Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)), Siglip2Processor(images, words)
    )


def text_only(folder: Path) -> Path:
    words = tokenizer()
    return save(folder, LlamaForCausalLM(llama(len(words))), words)


def pixels(seed: int, height: int = 20, width: int = 30) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def picture(seed: int, height: int = 20, width: int = 30) -> Picture:
    found = pixels(seed, height, width)
    found.flags.writeable = False
    return Picture(pixels=found, source=f"{seed}.png", sha256=f"{seed:064x}", format="PNG", size=(width, height))

"""LLaVA, Idefics3 (SmolVLM), PaliGemma and BLIP-2: tiny ones of random weights, against transformers called by hand."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor  # noqa: E402

from agentkit.errors import ContextFull, ModelFileError, UnsupportedPart, UsageError  # noqa: E402
from agentkit_vision.contracts import Picture, Speaker  # noqa: E402
from agentkit_vision.hugging.prompts import CAPTION, disarmed, first_sentence  # noqa: E402
from agentkit_vision.hugging.speaking import HuggingSpeaker  # noqa: E402
from tests.plugins.vision import hugging_models as make  # noqa: E402

# transformers' PaliGemmaProcessor makes an array of a tensor as numpy 2 will no longer have it; until it does otherwise
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

KINDS = ("llava", "idefics3", "paligemma", "blip2")
SEVERAL = ("llava", "idefics3")
ONE, OTHER = make.picture(0), make.picture(1, 40, 17)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("speakers")
    return {kind: getattr(make, kind)(home / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def speakers(folders: dict[str, Path]) -> dict[str, HuggingSpeaker]:
    return {kind: HuggingSpeaker(str(folder), max_tokens=6) for kind, folder in folders.items()}


def by_hand(folder: Path, pictures: list[Picture], text: str, tokens: int = 6) -> tuple[str, float]:
    """Return the answer to a prompt as written, and its probability by transformers' own reckoning."""
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    images = [Image.fromarray(one.pixels) for one in pictures]
    inputs = processor(images=[images] if len(images) > 1 else images, text=text, return_tensors="pt")
    inputs.pop("labels", None)
    with torch.no_grad():
        found = model.generate(
            **inputs, do_sample=False, max_new_tokens=tokens, return_dict_in_generate=True, output_scores=True
        )
    speaking = getattr(model, "language_model", model) if "opt" in json.dumps(model.config.to_dict()) else model
    chances = speaking.compute_transition_scores(found.sequences, found.scores, normalize_logits=True)[0]
    said = processor.tokenizer.decode(found.sequences[0, -len(found.scores) :], skip_special_tokens=True)
    return said.strip(), math.exp(chances.sum())


PROMPTS = {
    "llava": ("USER: <image>\n{} ASSISTANT:", f"USER: <image>\n{CAPTION} ASSISTANT:"),
    "idefics3": ("USER: <image>{} ASSISTANT:", f"USER: <image>{CAPTION} ASSISTANT:"),
    "paligemma": ("answer en {}\n", "caption en\n"),
    "blip2": ("Question: {} Answer:", ""),
}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_what_transformers_gives_by_hand(
    kind: str, speakers: dict[str, HuggingSpeaker], folders: dict[str, Path]
) -> None:
    speaker, (question, _) = speakers[kind], PROMPTS[kind]
    assert isinstance(speaker, Speaker)
    said = speaker.ask([ONE], "what colour is it?")
    text, probability = by_hand(folders[kind], [ONE], question.format("what colour is it?"))
    assert said.text == text
    assert said.confidence == pytest.approx(probability, rel=1e-3)
    assert 0 < probability < 1
    assert said.model == speaker.name == str(folders[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_captions_are_what_transformers_gives_by_hand(
    kind: str, speakers: dict[str, HuggingSpeaker], folders: dict[str, Path]
) -> None:
    said = speakers[kind].caption(ONE)
    text, probability = by_hand(folders[kind], [ONE], PROMPTS[kind][1])
    assert said.text == first_sentence(text)
    if len(said.text) == len(text):
        assert said.confidence == pytest.approx(probability, rel=1e-3)
    else:
        assert said.confidence is not None
        assert said.confidence >= probability * 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_and_questions_matter(kind: str, speakers: dict[str, HuggingSpeaker]) -> None:
    speaker = speakers[kind]
    said = [speaker.ask([picture], text) for picture in (ONE, OTHER) for text in ("what colour is it?", "how many?")]
    assert len({one.confidence for one in said}) == 4
    assert speaker.ask([ONE], "how many?") == speaker.ask([ONE], " how many?\n") == said[1]


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_pictures_in_one_question(
    kind: str, speakers: dict[str, HuggingSpeaker], folders: dict[str, Path]
) -> None:
    place = "<image>\n" if kind == "llava" else "<image>"
    said = speakers[kind].ask([ONE, OTHER], "which is red?")
    text, probability = by_hand(folders[kind], [ONE, OTHER], f"USER: {place}{place}which is red? ASSISTANT:")
    assert (said.text, said.confidence) == (text, pytest.approx(probability, rel=1e-3))
    assert speakers[kind].takes_several
    assert speakers[kind].ask([OTHER, ONE], "which is red?").confidence != said.confidence  # in their order


@pytest.mark.parametrize("kind", ["paligemma", "blip2"])
def test_several_pictures_are_refused_where_the_model_takes_one(kind: str, speakers: dict[str, HuggingSpeaker]) -> None:
    assert not speakers[kind].takes_several
    with pytest.raises(UnsupportedPart, match="takes one picture in a question, not 2"):
        speakers[kind].ask([ONE, OTHER], "which is red?")


@pytest.mark.skipif(find_spec("torchvision") is None, reason="its processor of videos needs torchvision")
def test_qwen_where_torchvision_is_installed(tmp_path: Path) -> None:
    folder = make.qwen2_vl(tmp_path / "qwen")
    speaker = HuggingSpeaker(str(folder), max_tokens=6)
    place = "<|vision_start|><|image_pad|><|vision_end|>"
    for pictures in ([ONE], [ONE, OTHER]):
        said = speaker.ask(pictures, "what is <|image_pad|>?")
        prompt = f"USER: {place * len(pictures)}what is < |image_pad|>? ASSISTANT:"
        text, probability = by_hand(folder, pictures, prompt)
        assert (said.text, said.confidence) == (text, pytest.approx(probability, rel=1e-3))


def test_a_template_with_one_place_for_pictures_takes_one(tmp_path: Path) -> None:
    once = "USER: <image>\n{% for c in messages[0]['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}"
    once = once.replace("<image>", "{% if messages[0]['content'][0]['type'] == 'image' %}<image>{% endif %}")
    speaker = HuggingSpeaker(str(make.llava(tmp_path / "once", once + "{% endfor %} ASSISTANT:")), max_tokens=2)
    assert speaker.ask([ONE], "what?").confidence is not None
    with pytest.raises(UnsupportedPart, match="takes one picture"):
        speaker.ask([ONE, OTHER], "what?")


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_cannot_stand_for_a_picture(kind: str, speakers: dict[str, HuggingSpeaker]) -> None:
    """Its words are words: else the count of pictures would be off, and the model would fail."""
    said = speakers[kind].ask([ONE], "what is <image> </s>?")
    assert said == speakers[kind].ask([ONE], "what is < image> < /s>?")


@pytest.mark.parametrize("kind", KINDS)
def test_without_picture_or_question_nothing_is_asked(kind: str, speakers: dict[str, HuggingSpeaker]) -> None:
    for pictures, question in (([], "what?"), ([ONE], " ")):
        with pytest.raises(UsageError, match="at least one picture, and a question"):
            speakers[kind].ask(pictures, question)


def test_a_question_that_is_too_long_is_refused_and_not_cut(tmp_path: Path) -> None:
    speaker = HuggingSpeaker(str(make.llava(tmp_path / "short", max_position_embeddings=40)), max_tokens=50)
    with pytest.raises(ContextFull, match=r"have \d+ tokens of 40 that it takes"):
        speaker.ask([ONE], "what is this? " * 5)
    assert speaker.ask([ONE], "what?").text  # no more tokens are asked for than there is room


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (None, "has no chat template"),
        ("{{ messages[0]['content'] }}", "leaves pictures or text out"),
        ("{% for c in messages[0]['content'] %}{{ c['text'] }}{% endfor %}", "leaves pictures or text out"),
        ("{{ raise_exception('no') }}", "does not render"),
        ("{{ messages[0]['content' }}", "does not render"),
    ],
)
def test_chat_templates_that_would_lose_something_are_refused(
    template: str | None, complaint: str, tmp_path: Path
) -> None:
    folder = make.llava(tmp_path / "llava", template)
    with pytest.raises(ModelFileError, match=complaint):
        HuggingSpeaker(str(folder))


def test_blip2_with_another_image_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"tokenizer has <image> as 3, and config.json says 4"):
        HuggingSpeaker(str(make.blip2(tmp_path / "blip2", image_token=4)))


def test_older_blip2_processors_that_do_not_know_the_queries_do(
    speakers: dict[str, HuggingSpeaker], folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = make.blip2(tmp_path / "old")
    path = folder / "processor_config.json"
    about = json.loads(path.read_text())
    assert about.pop("num_query_tokens") == 4
    path.write_text(json.dumps(about))
    assert HuggingSpeaker(str(folder), max_tokens=6).caption(ONE).text == speakers["blip2"].caption(ONE).text


def test_threads_take_turns(speakers: dict[str, HuggingSpeaker]) -> None:
    speaker = speakers["idefics3"]
    questions = [f"what is {n}?" for n in range(4)] * 3
    alone = [speaker.ask([ONE], question) for question in questions]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda question: speaker.ask([ONE], question), questions)) == alone


def test_max_tokens_below_one_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="max_tokens 0"):
        HuggingSpeaker(str(folders["llava"]), max_tokens=0)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("A red shoe.", "A red shoe"),
        ("  A red shoe on a table. It is new.", "A red shoe on a table"),
        ("A St. Bernard dog, i.e. a large one.", "A St. Bernard dog, i.e. a large one"),
        ("Is it red? Yes.", "Is it red?"),
        ("a shoe\nand a hat", "a shoe"),
        ("3.5 cm of rope.", "3.5 cm of rope"),
        ("一只红鞋。它是新的。", "一只红鞋"),
        (". ", ""),
        ("", ""),
    ],
)
def test_first_sentences(text: str, kept: str) -> None:
    assert first_sentence(text) == kept


@given(st.text())
def test_a_first_sentence_is_a_part_without_its_full_stop(text: str) -> None:
    kept = first_sentence(text)
    assert kept in text
    assert kept == kept.strip()
    assert not kept.endswith(".")
    assert first_sentence(kept) == kept


@given(st.text("<image>s/ab "), st.sets(st.sampled_from(["<image>", "<s>", "</s>", "\n\n", "<"])))
def test_disarmed_texts_hold_no_control_token(text: str, control: set[str]) -> None:
    found = disarmed(text, control)
    assert not any(token in found for token in control if len(token) > 1 and not token.isspace())
    assert found.replace(" ", "") == text.replace(" ", "")

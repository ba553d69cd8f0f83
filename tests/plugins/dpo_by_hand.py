"""Tiny models, rows and trainers to try DPO on, and what its losses are by hand, from the papers and not from TRL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")
trl = pytest.importorskip("trl")

# TRL 1.16 asks transformers 5.23 by the name that version 6 drops
TRLS_OLD_NAME = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

BETA, SMOOTHING, LN2 = 0.1, {"robust": 0.1, "exo_pair": 1e-3}, math.log(2)
PAD, END, USER, ASSISTANT = 0, 1, 2, 3
WORDS = ("<pad>", "<end>", "<user>", "<assistant>", *"abcdefgh", "ab", "bc")
CHAT = "{% for m in messages %}<{{ m.role }}> {{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
ROWS = [
    {"prompt": "a b ", "chosen": "c d e", "rejected": "f"},
    {"prompt": "c ", "chosen": "g", "rejected": "h a b c d"},
    {"prompt": "d e f g ", "chosen": "a a b", "rejected": "b b a"},
    {"prompt": "h ", "chosen": "e f g h a", "rejected": "c c"},
]
# delta is (2, -2, 0); `sft`, `aot` and `aot_unpaired` are worked out below, the others were computed beforehand
LOSSES: Mapping[str, tuple[tuple[float, float, float], float]] = {
    "sigmoid": ((0.598139, 0.798139, 0.693147), 0.696475),
    "hinge": ((0.8, 1.2, 1.0), 1.0),
    "ipo": ((21.467778, 27.750319, 25.0), 24.739366),
    "robust": ((0.573139, 0.823139, 0.693147), 0.696475),
    "exo_pair": ((2.422015, 3.110397, 2.761231), 2.764547),
    "nca_pair": ((1.338793, 1.438793, 1.386294), 1.387960),
    "bco_pair": ((1.288793, 1.488793, 1.386294), 1.387960),
    "sppo_hard": ((32.0, 72.0, 50.0), 51.333333),
    "apo_zero": ((0.950042, 1.049958, 1.0), 1.0),
    "apo_down": ((0.975145, 1.024855, 1.0), 1.0),
    "discopop": ((0.814763, 0.805752, 0.846574), 0.822363),
    "sigmoid_norm": ((0.674982, 0.706630, 0.693147), 0.691586),
    # a pair alone has nothing to be sorted with; of three, (2, -2, 0) sorted less (0, 0, 0) sorted is (-2, 0, 2)
    "aot": ((0.598139, 0.798139, 0.693147), 0.696475),
    # (1, -1, 0) sorted less (-1, 1, 0) sorted is nothing: unpaired, these three pairs prefer nothing
    "aot_unpaired": ((0.598139, 0.798139, 0.693147), 0.693147),
    "sft": ((10 / 5, 20 / 8, 15 / 6), 45 / 19),  # a mean over all tokens, not of the pairs' means
}


@dataclass(frozen=True)
class Pairs:
    """Summed log-probabilities and lengths in tokens, one of each a pair."""

    chosen: Any
    rejected: Any
    ref_chosen: Any
    ref_rejected: Any
    chosen_tokens: Any
    rejected_tokens: Any

    def one(self, number: int) -> Pairs:
        return Pairs(**{name: value[number : number + 1] for name, value in vars(self).items()})


TABLE = Pairs(
    *(np.array(one, dtype=float) for one in ((-10, -20, -15), (-12, -18, -15), (-11, -19, -15), (-11, -19, -15))),
    *(np.array(one) for one in ((5, 8, 6), (6, 7, 6))),
)


def by_hand(loss: str, pairs: Pairs, beta: float = BETA, tau: float = 0.05) -> Any:
    """Return each pair's loss, from the papers that TRL names; of `sft`, the batch's for each pair."""

    def sigma(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def nls(x: Any) -> Any:
        return np.logaddexp(0, -x)  # -log sigma(x)

    eps = SMOOTHING.get(loss, 0.0)
    w, l = pairs.chosen - pairs.ref_chosen, pairs.rejected - pairs.ref_rejected  # noqa: E741
    d, mean_d = beta * (w - l), w / pairs.chosen_tokens - l / pairs.rejected_tokens
    p, s = sigma(d), sigma(d / tau)
    margin, ref_margin = np.sort(pairs.chosen - pairs.rejected), np.sort(pairs.ref_chosen - pairs.ref_rejected)
    formulas: dict[str, Callable[[], Any]] = {
        "sigmoid": lambda: nls(d),  # Rafailov et al. 2023, eq. 7
        "hinge": lambda: np.maximum(0, 1 - d),  # Zhao et al. 2023 (SLiC-HF), with the reference
        "ipo": lambda: (mean_d - 1 / (2 * beta)) ** 2,  # Azar et al. 2023, eq. 17, a token
        "exo_pair": lambda: p * np.log(p / (1 - eps)) + (1 - p) * np.log((1 - p) / eps),  # Ji et al. 2024, eq. 16
        "nca_pair": lambda: nls(beta * w) + nls(-beta * w) / 2 + nls(-beta * l) / 2,  # Chen et al. 2024, for two
        "robust": lambda: ((1 - eps) * nls(d) - eps * nls(-d)) / (1 - 2 * eps),  # Chowdhury et al. 2024
        "bco_pair": lambda: nls(beta * w) + nls(-beta * l),  # Jung et al. 2024, without the shift
        "sppo_hard": lambda: (w - 1 / (2 * beta)) ** 2 + (l + 1 / (2 * beta)) ** 2,  # Wu et al. 2024, eq. 4.7
        "apo_zero": lambda: 1 - sigma(beta * w) + sigma(beta * l),  # D'Oosterlinck et al. 2024, eq. 7
        "apo_down": lambda: sigma(beta * w) + 1 - p,  # the same, eq. 8
        "discopop": lambda: (1 - s) * nls(d) + s * np.exp(-d),  # Lu et al. 2024, eq. 5
        "sigmoid_norm": lambda: nls(beta * mean_d),  # Lambert et al. 2024 (Tulu 3)
        "aot": lambda: nls(beta * (margin - ref_margin)),  # Melnyk et al. 2024: quantiles of both margins
        "aot_unpaired": lambda: nls(beta * (np.sort(w) - np.sort(l))),  # the same: quantiles of both rewards
        "sft": lambda: np.full_like(w, -pairs.chosen.sum() / pairs.chosen_tokens.sum()),
    }
    return formulas[loss]()


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, and one thread: two on shared cores wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TQDM_DISABLE", "1")
        yield
    datasets.enable_progress_bars()
    torch.set_num_threads(threads)


def tiny(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3, bos_token_id=None, eos_token_id=END,
        pad_token_id=PAD,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def words() -> Any:
    """Return a tokenizer of whole words."""
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    inner.add_special_tokens(list(WORDS[:4]))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", pad_token="<pad>", chat_template=CHAT
    )


class Build:
    """Makes trainers; the same one for the same wishes, where no model is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, Any] = {}

    def __call__(self, model: Any = None, *, rows: Sequence[Mapping[str, Any]] = ROWS, **wanted: Any) -> Any:
        key = repr((rows, sorted(wanted.items())))
        if model is None and key in self.kept:
            return self.kept[key]
        extra = {name: wanted.pop(name) for name in ("ref_model", "processing_class") if name in wanted}
        wanted.setdefault("precompute_ref_log_probs", "ref_model" not in extra)
        args = trl.DPOConfig(
            output_dir=str(self.folder), use_cpu=True, bf16=False, activation_checkpointing=False, report_to="none",
            dataloader_pin_memory=False, per_device_train_batch_size=len(rows), seed=0, **wanted,
        )  # fmt: skip
        trainer = trl.DPOTrainer(
            model or tiny(),
            args=args,
            train_dataset=datasets.Dataset.from_list([dict(row) for row in rows]),
            **{"processing_class": words(), **extra},
        )
        if model is None:
            self.kept[key] = trainer
        return trainer

    def of_loss(self, loss: str, model: Any = None, **wanted: Any) -> Any:
        return self(model, loss_type=loss, label_smoothing=SMOOTHING.get(loss, 0.0), beta=BETA, **wanted)


def batch(trainer: Any, rows: slice = slice(None)) -> dict[str, Any]:
    """Return TRL's own batch of the rows, in their order."""
    examples = list(trainer.train_dataset)[rows]
    return dict(trainer.data_collator(examples))


def feed(trainer: Any, pairs: Pairs, dtype: Any = torch.float64) -> Any:
    """Return TRL's loss of these log-probabilities: a stand-in model gives them, unevenly shared out over the tokens."""
    chosen, rejected = (torch.as_tensor(one, dtype=dtype) for one in (pairs.chosen, pairs.rejected))
    lengths = [*pairs.chosen_tokens, *pairs.rejected_tokens]
    prompt, longest = 2, max(lengths)
    mask = torch.tensor([[0] * prompt + [1] * n + [0] * (longest - n) for n in lengths])
    shares = torch.zeros(len(lengths), prompt + longest - 1, dtype=dtype)
    for row, n in enumerate(lengths):
        shares[row, prompt - 1 : prompt - 1 + n] = torch.arange(1, n + 1, dtype=dtype) / (n * (n + 1) / 2)
    log_probs = torch.cat([chosen, rejected])[:, None] * shares
    nothing = torch.zeros_like(log_probs)
    said = SimpleNamespace(
        log_probs=log_probs, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool(), aux_loss=None
    )
    inputs = {
        "input_ids": torch.ones_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
        "ref_chosen_logps": torch.as_tensor(pairs.ref_chosen, dtype=dtype),
        "ref_rejected_logps": torch.as_tensor(pairs.ref_rejected, dtype=dtype),
    }
    return trainer._compute_loss(lambda **_: said, inputs, False)


def sums(model: Any, rows: Sequence[Mapping[str, Any]], which: str) -> tuple[list[Any], list[int]]:
    """Return summed log-probabilities of completions with their end, of sequences alone and unpadded, and their tokens."""
    number, found, lengths = {word: n for n, word in enumerate(WORDS)}, [], []
    for row in rows:
        prompt = [number[word] for word in row["prompt"].split()]
        completion = [*(number[word] for word in row[which].split()), END]
        logits = model(torch.tensor([prompt + completion])).logits[0].double()
        told = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        found.append(told[range(len(completion)), completion].sum())
        lengths.append(len(completion))
    return found, lengths

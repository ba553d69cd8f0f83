"""One training by TRL, from checked parameters to a saved model and its figures.

Guarantees: goes on from the last whole checkpoint; the reference of DPO is the model before training, also then; where it was
stopped and goes on, the weights at the end are those of a run that was not stopped (bit for bit on one thread).
"""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import accelerate
import datasets
import torch
import transformers
import trl

from agentkit.errors import InvalidParams, JobError
from agentkit_training.finetune.arguments import arguments, learning_rate, lora, precision, steps
from agentkit_training.finetune.bases import Base, find_base, load_model, load_tokenizer
from agentkit_training.finetune.bridge import Bridge, KlProbe, Reports, last_checkpoint, renamed
from agentkit_training.finetune.data import Data, prompt_length, read_data, tokens_of
from agentkit_training.finetune.params import DpoParams, GrpoParams, RewardParams, SftParams, TrainParams
from agentkit_training.finetune.rewards import find_reward
from agentkit_training.finetune.rows import Kind

__all__ = ["KINDS", "fit"]

KINDS: Mapping[type[TrainParams], Kind] = {
    SftParams: "text",
    DpoParams: "preference",
    RewardParams: "preference",
    GrpoParams: "prompts",
}


def fit(
    params: TrainParams,
    checkpoints: Path,
    out: Path,
    reports: Reports,
    *,
    agree: Callable[[bool], bool] = bool,
) -> dict[str, Any]:
    """Train, save the model to `out` once all steps are done, and return the figures.

    Args:
        params: what to do.
        checkpoints: folder of this run's checkpoints.
        out: folder for the model, or the adapter where one is trained.
        reports: told of each step, and asked whether to stop.
        agree: whether any process wants to stop, given whether this one does.

    Raises:
        InvalidParams, ModelFileError, OfflineModelUnavailable: as their readers.
        Diverged: a loss that is no number.
        JobError: the disk is full.
    """
    torch.set_num_threads(params.threads or max(1, (os.cpu_count() or 1) // params.processes))
    torch.manual_seed(params.seed)  # a reward model's head is new
    os.environ["TQDM_DISABLE"] = "1"  # read by TRL
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    base = find_base(params.model)
    tokenizer = load_tokenizer(base)
    data = read_data(params, KINDS[type(params)], base, tokenizer)
    bridge = Bridge(reports, agree)
    last = last_checkpoint(checkpoints)
    with _full_disk(checkpoints), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)  # TRL's own use of it
        trainer = _trainer(params, base, tokenizer, data, checkpoints, bridge)
        trainer.remove_callback(transformers.PrinterCallback)  # stdout is not for progress
        if last is not None:
            trainer.args.eval_on_start = False  # it was made by the first start
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
        done = trainer.state.global_step >= trainer.state.max_steps
        if done:
            _save(trainer, out)
    return _figures(params, trainer.state, data, done=done)


def _trainer(params: TrainParams, base: Base, tokenizer: Any, data: Data, folder: Path, bridge: Bridge) -> Any:
    scores = isinstance(params, RewardParams)
    model = load_model(base, precision=precision(params), four_bit=params.four_bit, scores=scores)
    named = params.reference if isinstance(params, DpoParams) else None
    reference = None if named is None else load_model(find_base(named), precision=precision(params))
    parameters = sum(one.numel() for one in model.parameters())
    args = arguments(
        params,
        folder,
        total=steps(params, len(data.train)),
        rate=learning_rate(params, parameters),
        max_length=data.max_length,
        evaluates=bool(data.eval),
    )
    known = {
        "model": model,
        "args": args,
        "train_dataset": _dataset(data.train, folder / "train", params),
        "eval_dataset": _dataset(data.eval, folder / "eval", params) if data.eval else None,
        "processing_class": tokenizer,
        "peft_config": None if base.adapter else lora(params, scores=scores),
        "callbacks": [*_probes(params, reference or model, data, tokenizer), bridge],
    }
    match params:
        case DpoParams():
            return trl.DPOTrainer(**known, ref_model=reference)
        case SftParams():
            args.assistant_only_loss = "messages" in data.train[0] and _marks_assistant(tokenizer)
            return trl.SFTTrainer(**known)
        case RewardParams():
            return trl.RewardTrainer(**known)
        case GrpoParams():
            reward = find_reward(params.reward, list(data.train[0]))
            return trl.GRPOTrainer(**known, reward_funcs=[reward])
    raise InvalidParams(f"{type(params).__name__} is trained by nothing here")


def _save(trainer: Any, out: Path) -> None:
    """Write what was trained, and nothing that only training needs."""
    if "ref" in getattr(trainer.model, "peft_config", {}):
        trainer.model.delete_adapter("ref")  # TRL's copy of an adapter that is trained further
    trainer.save_model(str(out))
    (out / "training_args.bin").unlink(missing_ok=True)  # a pickle


def _dataset(rows: list[dict[str, Any]], folder: Path, params: TrainParams) -> Any:
    """Return rows as TRL takes them; several processes share a folder, where TRL keeps what the first one reckoned."""
    nested = {name for row in rows for name, value in row.items() if isinstance(value, list | dict)}
    found = datasets.Dataset.from_list(rows, features=_as_json(rows, nested) if nested else None)
    if params.processes == 1:
        return found
    state = accelerate.PartialState()  # of the arguments, which were made before
    if state.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
        found.save_to_disk(folder)
    state.wait_for_everyone()
    return datasets.load_from_disk(folder)


def _as_json(rows: list[dict[str, Any]], nested: set[str]) -> Any:
    """Return the columns' types, all that is nested as JSON: Arrow would give each tool call the arguments of all others."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    flat = datasets.Dataset.from_list([{name: row.get(name) for name in names if name not in nested} for row in rows])
    found = dict(flat.features)
    for name in nested:
        lists = all(isinstance(row[name], list) for row in rows if row.get(name) is not None)
        found[name] = datasets.List(datasets.Json()) if lists else datasets.Json()
    return datasets.Features(found)


def _probes(params: TrainParams, reference: Any, data: Data, tokenizer: Any) -> list[KlProbe]:
    """Return what measures the divergence from the reference at each evaluation, where there is one."""
    if not isinstance(params, DpoParams) or not data.eval or params.four_bit:
        return []
    sequences = []
    for row in data.eval:
        whole = tokens_of(row, tokenizer)[0]
        sequences.append((whole, min(prompt_length(row, tokenizer), len(whole) - 1)))
    return [KlProbe(reference, sequences)]


def _marks_assistant(tokenizer: Any) -> bool:
    """Whether the chat template says what the assistant wrote, or TRL knows one like it that does."""
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers  # noqa: PLC0415  not public

    if has_generation_markers(tokenizer.chat_template):
        return True
    try:
        return get_training_chat_template(tokenizer) is not None
    except ValueError:
        return False


def _figures(params: TrainParams, state: Any, data: Data, *, done: bool) -> dict[str, Any]:
    """Return what a run came to: the last evaluation beside the first."""
    losses = [row["loss"] for row in state.log_history if "loss" in row]
    found: dict[str, Any] = {
        "steps": state.global_step,
        "rows": len(data.train),
        "rows_held_out": len(data.eval),
        "loss_first": losses[0] if losses else None,
        "loss_last": losses[-1] if losses else None,
    }
    evaluations = [row for row in state.log_history if any(name.startswith("eval_") for name in row)]
    if evaluations and done:
        first, last = renamed(evaluations[0]), renamed(evaluations[-1])
        found |= {f"{name}_before": first[name] for name in first}
        found |= last
        if (
            isinstance(params, DpoParams) and params.reference is None
        ):  # all are ties, each half right; TRL counts them as wrong
            found["eval_accuracy_before"] = 0.5
    return found


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        if getattr(error, "errno", None) != errno.ENOSPC and "No space left" not in str(error):
            raise
        raise JobError(
            f"{folder}: the disk is full; free some, then start it again: it goes on from the last whole checkpoint"
        ) from error

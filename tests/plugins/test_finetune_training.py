"""Fine-tuning as jobs, on a model of a few thousand weights: every method, stopping, dying, going on, and what goes wrong."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from agentkit import jobs  # noqa: E402
from agentkit.errors import InvalidParams, ModelFileError, OfflineModelUnavailable  # noqa: E402
from agentkit.jobs import Budget, Job, JobResult  # noqa: E402
from agentkit_training.finetune.bases import find_base, load_model  # noqa: E402
from agentkit_training.finetune.bridge import KlProbe, last_checkpoint  # noqa: E402
from agentkit_training.finetune.jobs import DPO, GRPO, REWARD, SFT  # noqa: E402
from tests.plugins.finetune_models import chats, pairs, prompts, tiny, write  # noqa: E402

FEW = {"steps": 4, "batch": 4, "threads": 1, "held_out": 0.2, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "prefs.jsonl", pairs(16))


def params(model: Path, data: Path, **more: Any) -> dict[str, Any]:
    return {"model": str(model), "data": str(data), "out": str(data.parent / "out"), **FEW, **more}


def run(job: Job, told: dict[str, Any], folder: Path, **more: Any) -> JobResult:
    return jobs.run(job, told, run_dir=folder, **more)


def weights(folder: Path) -> str:
    return hashlib.sha256(next(folder.glob("*.safetensors")).read_bytes()).hexdigest()


class TestMethods:
    """What each method does."""

    def test_dpo_learns_what_is_preferred(self, model: Path, data: Path, tmp_path: Path) -> None:
        done = run(DPO, params(model, data, steps=12, held_out=0.3), tmp_path / "run")
        assert done.status == "ok", done.error
        assert done.metrics["eval_loss_before"] == pytest.approx(0.693147, abs=1e-5)
        assert done.metrics["eval_accuracy_before"] == 0.5
        assert done.metrics["eval_loss"] < 0.5
        assert done.metrics["eval_accuracy"] == 1.0
        assert done.metrics["eval_kl_before"] == pytest.approx(0, abs=1e-6)
        assert done.metrics["eval_kl"] > 0
        kinds = {Path(one.path).name: one.kind for one in done.artifacts}
        assert kinds["curves.png"] == "png"
        assert kinds["model.safetensors"] == "model"
        assert not (tmp_path / "out" / "training_args.bin").exists()
        assert "eval_accuracy" in (tmp_path / "out" / "README.md").read_text()
        rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        for name in ("loss", "margin", "accuracy", "learning_rate", "grad_norm", "eval_kl"):
            assert any(name in row for row in rows), name

    def test_sft_of_conversations_learns_the_answers_alone(self, model: Path, tmp_path: Path) -> None:
        data = write(tmp_path / "chats.jsonl", chats(16))
        done = run(SFT, params(model, data, steps=8), tmp_path / "run")
        assert done.status == "ok", done.error
        assert done.metrics["eval_loss"] < done.metrics["eval_loss_before"]
        first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
        assert first["eval_loss"] == pytest.approx(
            _answers_nll(model, tmp_path, rows=done.metrics["rows_held_out"]), rel=0.15
        )

    def test_a_reward_model_scores_the_chosen_higher(self, model: Path, data: Path, tmp_path: Path) -> None:
        done = run(REWARD, params(model, data, steps=10), tmp_path / "run")
        assert done.status == "ok", done.error
        assert done.metrics["eval_accuracy"] == 1.0
        scores = load_model(find_base(str(tmp_path / "out")), scores=True)
        assert scores.config.num_labels == 1

    def test_grpo_is_rewarded_by_a_function_of_ones_own(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "my_rewards.py").write_text(
            "def short(completions, answer, **_):\n    return [-float(len(str(one))) for one in completions]\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        data = write(tmp_path / "prompts.jsonl", prompts(8))
        done = run(GRPO, params(model, data, steps=2, reward="my_rewards:short", completion_length=6), tmp_path / "run")
        assert done.status == "ok", done.error
        assert done.metrics["eval_reward"] < 0

    def test_an_adapter_is_small_and_is_trained_further(self, model: Path, data: Path, tmp_path: Path) -> None:
        done = run(DPO, params(model, data, lora_rank=4), tmp_path / "run")
        assert done.status == "ok", done.error
        out = tmp_path / "out"
        assert (out / "adapter_config.json").exists()
        assert not (out / "model.safetensors").exists()
        again = params(out, data, out=str(tmp_path / "more"))
        done = run(DPO, again, tmp_path / "again")
        assert done.status == "ok", done.error
        assert done.metrics["eval_loss_before"] == pytest.approx(
            0.693147, abs=1e-5
        )  # the adapter as it was is the reference
        assert weights(tmp_path / "more") != weights(out)

    def test_the_reference_may_be_another_model(self, model: Path, data: Path, tmp_path: Path) -> None:
        run(DPO, params(model, data), tmp_path / "run")
        told = params(tmp_path / "out", data, out=str(tmp_path / "more"), reference=str(model))
        done = run(DPO, told, tmp_path / "again")
        assert done.status == "ok", done.error
        assert done.metrics["eval_loss_before"] < 0.69  # it has left the reference already
        assert done.metrics["eval_accuracy_before"] == 1.0  # so that nothing is a tie
        assert done.metrics["eval_kl_before"] > 0


def _answers_nll(model: Path, folder: Path, *, rows: int) -> float:
    """Return the mean loss of the held-out answers, end of turn included, reckoned by hand."""
    from agentkit_training.finetune.bases import load_tokenizer
    from agentkit_training.finetune.rows import held_out, read_rows

    base = find_base(str(model))
    tokenizer, net = load_tokenizer(base), load_model(base).eval()
    found, count = 0.0, 0
    evaluated = held_out(read_rows(folder / "chats.jsonl", "text"), 0.2)[1]
    assert len(evaluated) == rows
    for row in evaluated:
        told = tokenizer.apply_chat_template(row.data["messages"], return_dict=True, return_assistant_tokens_mask=True)
        ids, mask = torch.tensor([told["input_ids"]]), torch.tensor(told["assistant_masks"][1:]).bool()
        with torch.no_grad():
            logs = torch.log_softmax(net(input_ids=ids).logits[0, :-1], -1)
        found -= float(logs.gather(1, ids[0, 1:, None])[mask].sum())
        count += int(mask.sum())
    return found / count


class TestGoingOn:
    """What was stopped or killed ends like what was not."""

    @pytest.fixture
    def whole(self, model: Path, data: Path, tmp_path: Path) -> str:
        told = params(model, data, out=str(tmp_path / "whole"), steps=6)
        assert run(DPO, told, tmp_path / "whole-run").status == "ok"
        return weights(tmp_path / "whole")

    def test_stopped_by_its_budget_and_gone_on_is_the_same_to_the_bit(
        self, model: Path, data: Path, tmp_path: Path, whole: str
    ) -> None:
        told = params(model, data, steps=6)
        first = run(DPO, told, tmp_path / "run", budget=Budget(steps=2))
        assert (first.status, first.metrics["steps"]) == ("budget_exhausted", 2)
        assert not (tmp_path / "out").exists()
        assert run(DPO, told, tmp_path / "run").status == "ok"
        assert weights(tmp_path / "out") == whole

    def test_cancelled_before_the_first_step_keeps_nothing_half_done(
        self, model: Path, data: Path, tmp_path: Path
    ) -> None:
        stop = threading.Event()
        stop.set()
        done = run(DPO, params(model, data), tmp_path / "run", cancelled=stop)
        assert done.status == "cancelled"
        assert last_checkpoint(tmp_path / "run" / "checkpoints") is not None

    @pytest.mark.slow
    def test_killed_in_the_middle_and_gone_on_is_the_same_to_the_bit(
        self, model: Path, data: Path, tmp_path: Path, whole: str
    ) -> None:
        told = params(model, data, steps=6, save_every=2)
        folder = tmp_path / "run"
        handle = jobs.start(DPO, told, run_dir=folder)
        for event in jobs.follow(folder, poll_s=0.005):
            if event["type"] == "step" and event["step"] >= 2 and list((folder / "checkpoints").glob("checkpoint-2")):
                assert handle.process is not None
                os.kill(handle.process.pid, signal.SIGKILL)
                break
        handle.process.wait()
        assert jobs.read(folder).status == "interrupted"
        assert jobs.resume(folder).wait().status == "ok"
        assert weights(tmp_path / "out") == whole

    def test_a_checkpoint_torn_by_a_crash_is_not_gone_on_from(self, tmp_path: Path) -> None:
        for step, state in ((2, '{"global_step": 2}'), (4, '{"global_st'), (6, None)):
            folder = tmp_path / f"checkpoint-{step}"
            folder.mkdir()
            if state is not None:
                (folder / "trainer_state.json").write_text(state)
        assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]

    def test_a_changed_parameter_is_named(self, model: Path, data: Path, tmp_path: Path) -> None:
        run(DPO, params(model, data), tmp_path / "run", budget=Budget(steps=1))
        with pytest.raises(InvalidParams, match=r"beta: 0\.1 -> 0\.2"):
            run(DPO, params(model, data, beta=0.2), tmp_path / "run", resume="always")


class TestWrong:
    """Typed errors that say what to do."""

    def test_a_loss_that_is_no_number_ends_the_run(self, model: Path, data: Path, tmp_path: Path) -> None:
        broken = tmp_path / "broken"
        broken.mkdir()
        from safetensors.torch import load_file, save_file

        for path in model.iterdir():
            (broken / path.name).write_bytes(path.read_bytes())
        held = load_file(broken / "model.safetensors")
        held["model.norm.weight"][0] = float("nan")
        save_file(held, broken / "model.safetensors", {"format": "pt"})
        done = run(DPO, params(broken, data, held_out=0), tmp_path / "run")
        assert done.status == "failed"
        assert "Diverged: loss is nan at step 1" in done.error
        assert "--learning-rate" in done.error

    def test_a_full_disk_says_that_it_goes_on_later(
        self, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import trl

        def full(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(trl.DPOTrainer, "_save_checkpoint", full)
        done = run(DPO, params(model, data), tmp_path / "run")
        assert done.status == "failed"
        assert "JobError" in done.error
        assert "the disk is full; free some, then start it again" in done.error

    def test_rows_beyond_the_context_are_named(self, model: Path, tmp_path: Path) -> None:
        rows = pairs(4)
        rows[2]["chosen"][0]["content"] = "word " * 300
        data = write(tmp_path / "prefs.jsonl", rows)
        with pytest.raises(InvalidParams, match=r"1 of 4 rows cannot be used: line 3: \d+ tokens, and at most 256 fit"):
            DPO.plan(params(model, data))
        with pytest.raises(InvalidParams, match=r"/max_length: 512 tokens, and .* reads 256"):
            DPO.plan(params(model, data, max_length=512))
        done = run(DPO, params(model, data, skip_bad_rows=True, held_out=0), tmp_path / "run")
        assert done.metrics["rows"] == 3

    def test_a_name_is_never_replaced_by_another_model(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("AGENTKIT_OFFLINE", "1")
        with pytest.raises(
            OfflineModelUnavailable, match=r"nobody/nothing is not in the cache, and downloading is switched off"
        ):
            DPO.plan(params(Path("nobody/nothing"), data))

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("model.gguf", "training needs the float weights"),
            ("nowhere", "there is no folder nowhere"),
            ("./nowhere", "there is no folder"),
        ],
    )
    def test_what_is_no_model_is_said_to_be_none(self, name: str, said: str, data: Path) -> None:
        with pytest.raises(InvalidParams, match=said):
            DPO.plan({**params(Path(), data), "model": name})

    def test_a_damaged_model_is_named(self, model: Path, data: Path, tmp_path: Path) -> None:
        broken = tmp_path / "broken"
        broken.mkdir()
        for path in model.iterdir():
            (broken / path.name).write_bytes(path.read_bytes())
        (broken / "model.safetensors").write_bytes(b"\x10")
        done = run(DPO, params(broken, data), tmp_path / "run")
        assert done.status == "failed"
        assert "ModelFileError" in done.error
        (broken / "config.json").write_text("{}")
        with pytest.raises(ModelFileError, match="transformers does not know this model"):
            DPO.plan(params(broken, data))

    def test_four_bits_need_a_gpu(self, model: Path, data: Path, tmp_path: Path) -> None:
        if torch.cuda.is_available():
            return
        done = run(DPO, params(model, data, four_bit=True, lora_rank=4), tmp_path / "run")
        assert "/four_bit: bitsandbytes' 4 bits need a GPU" in done.error

    def test_a_reward_needs_its_answers(self, model: Path, data: Path, tmp_path: Path) -> None:
        bare = write(tmp_path / "bare.jsonl", [{"prompt": "a"}, {"prompt": "b"}])
        for reward, said in (
            ("number", "the column `answer`"),
            ("nosuch", "/reward: no reward 'nosuch'"),
            ("no.such:thing", "cannot be imported"),
        ):
            with pytest.raises(InvalidParams, match=said):
                GRPO.plan(params(model, bare, reward=reward))

    def test_the_folder_is_not_written_over(self, model: Path, data: Path) -> None:
        (data.parent / "out").mkdir()
        with pytest.raises(InvalidParams, match=r"/out: .* exists"):
            DPO.plan(params(model, data))
        DPO.plan(params(model, data, force=True))


def test_nothing_is_looked_for_on_the_network(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("somebody wants to connect")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    assert run(DPO, params(model, data), tmp_path / "run").status == "ok"


def test_the_divergence_is_that_of_the_whole_distribution(model: Path) -> None:
    first, second = (load_model(find_base(str(model))).eval() for _ in range(2))
    probe = KlProbe(first, [(list(range(80, 100)), 5), (list(range(200, 230)), 1)])
    assert probe.tokens == 44
    assert probe.measure(second) == 0
    with torch.no_grad():
        for weight in second.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)), alpha=0.05)
        expected = 0.0
        for ids, start in ((list(range(80, 100)), 5), (list(range(200, 230)), 1)):
            p, q = (
                torch.log_softmax(one(torch.tensor([ids])).logits[0, start - 1 : -1], -1) for one in (second, first)
            )
            expected += float(torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum"))
    assert probe.measure(second) == pytest.approx(expected / 44, rel=1e-4)


def test_flops_are_counted_as_torch_counts_them(model: Path) -> None:
    """Forward and backward, the head included; what torch leaves out is the attention's own products on the CPU."""
    from torch.utils.flop_counter import FlopCounterMode

    from agentkit_training.finetune.costs import Shape, costs, padded

    base, length = find_base(str(model)), 48
    net = load_model(base)
    tokens = torch.zeros((3, length), dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        net(input_ids=tokens, labels=tokens).loss.backward()
    reckoned = costs(base, Shape(steps=1, sequences=3, length=length)).flops
    attention = 3 * 2 * 2 * net.config.num_hidden_layers * net.config.hidden_size * length * 3 * length
    assert counter.get_total_flops() == pytest.approx(reckoned - attention, rel=0.02)
    assert padded([5], 4) == 5
    assert 20 < padded([1, 30], 8) <= 30

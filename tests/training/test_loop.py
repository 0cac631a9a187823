"""The loop: exact resume, processes and micro-batches that change nothing, interrupts, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from training.batches import EpochOrder
from training.loop import Evaluation, Loop, LoopConfig
from training.tracking import Tracker

ROOT = Path(__file__).resolve().parents[2]


class Regression:
    """A linear model on fixed data with noise drawn by the loop; optionally interrupts itself after a step."""

    better: ClassVar = {"error": "lower"}

    def __init__(self, batch_size: int, interrupt_at: int | None = None, nan_at: int | None = None):
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(64, 5, generator=generator)
        self.targets = self.inputs @ torch.arange(5.0)
        self.order = EpochOrder(64, batch_size, seed=3)
        self.interrupt_at, self.nan_at = interrupt_at, nan_at
        self.evaluated = 0

    def loss(self, model, random):
        if random.step == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        rows = self.order.batch(random.step)[random.rows]
        inputs = self.inputs[rows] + 0.1 * random.normal_like(self.inputs[rows])
        loss = (model(inputs).squeeze(-1) - self.targets[rows]).pow(2).mean()
        return {"loss": loss * float("nan") if random.step == self.nan_at else loss}

    def evaluate(self, model):
        self.evaluated += 1
        error = (model(self.inputs).squeeze(-1) - self.targets).pow(2).mean().item()
        return Evaluation({"error": error}, {"samples": (["evaluation", "error"], [[self.evaluated, error]])})

    def save(self, model, folder):
        torch.save(model.state_dict(), folder / "weights.pt")


def make_config(**changes) -> LoopConfig:
    values = {"steps": 20, "batch_size": 8, "learning_rate": 0.05, "log_every": 1, "warmup_steps": 3, "ema_decay": 0.9}
    return LoopConfig(**{**values, **changes})


def run(folder: Path, task: Regression | None = None, resume: bool = False, **changes) -> dict[str, torch.Tensor]:
    config = make_config(**changes)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.Dropout(0.2), nn.Linear(16, 1))
    folder.mkdir(exist_ok=True)
    Loop(config, folder).fit(model, task or Regression(config.batch_size), resume=resume)
    return torch.load(folder / "weights.pt", weights_only=True)


def lines(folder: Path, name: str = "metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in lines(folder) if "loss" in line]


def test_training_lowers_the_loss_and_leaves_a_finished_folder(tmp_path):
    run(tmp_path, steps=200)
    curve = losses(tmp_path)
    assert curve[-1] < curve[0] / 5
    summary = json.loads((tmp_path / "finished.json").read_text())
    assert summary["steps"] == 200 and summary["samples"] == 1600 and summary["seconds"] > 0
    assert summary["trained_parameters"] == 5 * 16 + 16 + 16 + 1
    assert not (tmp_path / "resume.pt").exists()


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path):
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="Checkpoint at step 8 of 20"):
        run(tmp_path / "parts", Regression(8, interrupt_at=7))
    assert (tmp_path / "parts" / "weights.pt").exists()
    resumed = run(tmp_path / "parts", resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_an_interrupt_that_comes_too_late_is_raised_when_the_run_is_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="is finished"):
        run(tmp_path, Regression(8, interrupt_at=19))
    assert (tmp_path / "finished.json").exists()


@pytest.mark.parametrize("clips", [(0.1, None), (None, 1.0), (0.1, 1.0)])
def test_gradients_of_a_scaled_loss_are_clipped_by_value_and_norm(tmp_path, clips):
    loop = Loop(make_config(steps=2, clip_value=clips[0], clip_norm=clips[1], ema_decay=None), tmp_path)
    loop.accelerator.state._mixed_precision, loop.accelerator.native_amp = "fp16", True
    loop.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    loop.fit(nn.Linear(5, 1), Regression(8))
    assert (tmp_path / "finished.json").exists()


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path):
    class Killed(Regression):
        def loss(self, model, random):
            if random.step == 13:
                raise RuntimeError("killed")
            return super().loss(model, random)

    whole = run(tmp_path / "whole", evaluate_every=5)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "parts", Killed(8), evaluate_every=5, checkpoint_every=7)
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 14, "lo')  # cut short
    resumed = run(tmp_path / "parts", resume=True, evaluate_every=5)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    steps = [line["step"] for line in lines(tmp_path / "parts", "tables.jsonl")]
    assert steps == [5, 10, 15, 20]


def test_tables_are_written_without_a_tracker(tmp_path):
    run(tmp_path, evaluate_every=10)
    first, last = lines(tmp_path, "tables.jsonl")
    assert first["step"] == 10 and last["step"] == 20
    assert first["samples"]["columns"] == ["evaluation", "error"]
    errors = [line["error"] for line in lines(tmp_path) if "error" in line]
    assert first["samples"]["rows"] == [[1, errors[0]]] and last["samples"]["rows"] == [[2, errors[1]]]


def test_the_resume_state_is_written_after_the_weights(tmp_path):
    class NoRoom(Regression):
        def save(self, model, folder):
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        run(tmp_path, NoRoom(8), checkpoint_every=5)
    assert not (tmp_path / "resume.pt").exists()


def test_micro_batches_give_the_same_gradients(tmp_path):
    def without_dropout(folder, **changes):
        torch.manual_seed(0)
        model = nn.Linear(5, 1)
        folder.mkdir()
        Loop(make_config(**changes), folder).fit(model, Regression(8))
        return losses(folder)

    whole = without_dropout(tmp_path / "whole")
    assert without_dropout(tmp_path / "parts", gradient_accumulation=4) == pytest.approx(whole, rel=1e-4)


def test_two_processes_give_the_losses_of_one_in_a_second_and_resumed_stage_too(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(
        "import sys, torch\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
        "from pathlib import Path\n"
        "from test_loop import Regression, make_config\n"
        "from training.loop import Loop\n"
        "torch.manual_seed(0)\n"
        "loop = Loop(make_config(), sys.argv[1])\n"
        "me = loop.accelerator\n"
        "Path(sys.argv[1], f'rank_{me.process_index}_of_{me.num_processes}').touch()\n"
        "loop.fit(torch.nn.Linear(5, 1), Regression(8))\n"
        "second = Path(sys.argv[1], 'second')\n"
        "second.mkdir(exist_ok=True)\n"
        "for at in (2 if me.is_main_process else None, None):\n"
        "    torch.manual_seed(0)\n"
        "    loop = Loop(make_config(steps=5, precision='bf16'), second)\n"
        "    assert loop.accelerator.num_processes == me.num_processes\n"
        "    try:\n"
        "        loop.fit(torch.nn.Linear(5, 1), Regression(8, at), resume=(second / 'resume.pt').exists())\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for name, command in (("one", [sys.executable]), ("two", torchrun)):
        (tmp_path / name).mkdir()
        done = subprocess.run(
            [*command, str(script), str(tmp_path / name)], env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("interrupted") == (1 if name == "one" else 2)
    assert {path.name for path in (tmp_path / "two").glob("rank_*")} == {"rank_0_of_2", "rank_1_of_2"}
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert len(losses(tmp_path / "two")) == 20
    assert len(losses(tmp_path / "two" / "second")) == 5
    assert losses(tmp_path / "two" / "second") == pytest.approx(losses(tmp_path / "one" / "second"), rel=2e-2)


@pytest.mark.parametrize(("better", "sign"), [("lower", 1), ("higher", -1)])
def test_keep_saves_the_weights_of_the_best_figure(tmp_path, better, sign):
    class Worsening(Regression):
        def __init__(self):
            super().__init__(8)
            self.better = {"figure": better}

        def evaluate(self, model):
            self.evaluated += 1
            return Evaluation({"figure": sign * float(self.evaluated)})

        def save(self, model, folder):
            (folder / "saved_at").write_text(str(self.evaluated))
            super().save(model, folder)

    task = Worsening()
    task.interrupt_at = 12
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, task, keep="figure", evaluate_every=5)
    task.interrupt_at = None
    run(tmp_path, task, resume=True, keep="figure", evaluate_every=5)
    assert (tmp_path / "saved_at").read_text() == "1" and task.evaluated == 4


def test_bf16_autocast_trains(tmp_path):
    run(tmp_path, steps=100, precision="bf16")
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path):
    with pytest.raises(ValueError, match=r"became nan at step 5: lower loop.learning_rate"):
        run(tmp_path, Regression(8, nan_at=4))


@pytest.mark.parametrize(("every", "kept"), [({"checkpoint_every": 3}, 3), ({"evaluate_every": 3}, None)])
def test_broken_weights_never_become_a_checkpoint(tmp_path, every, kept):
    class Recorded(Regression):
        def save(self, model, folder):
            assert all(weight.isfinite().all() for weight in model.parameters())
            super().save(model, folder)

    task = Recorded(8, nan_at=4)
    with pytest.raises(ValueError, match=r"became nan at step 6.*earlier checkpoints are kept"):
        run(tmp_path, task, log_every=100, ema_decay=None, **every)
    assert task.evaluated == (1 if kept is None else 0)
    assert (tmp_path / "resume.pt").exists() == (kept is not None)
    if kept:
        assert torch.load(tmp_path / "resume.pt", weights_only=True)["step"] == kept


def test_a_finite_loss_whose_gradient_broke_the_weights_is_noticed(tmp_path):
    class Root(Regression):
        def loss(self, model, random):
            loss = super().loss(model, random)["loss"]
            return {"loss": (loss * 0).sqrt() if random.step == 3 else loss}  # an infinite slope, times 0

    with pytest.raises(ValueError, match="The weights became infinite or nan at step 4"):
        run(tmp_path, Root(8), checkpoint_every=4, log_every=3)
    assert not (tmp_path / "weights.pt").exists()


def test_keep_refuses_a_figure_that_is_not_finite(tmp_path):
    class Undefined(Regression):
        def evaluate(self, model):
            return Evaluation({"error": float("nan")})

    with pytest.raises(ValueError, match="error is nan at step 10 and cannot choose the weights"):
        run(tmp_path, Undefined(8), keep="error", evaluate_every=10)
    assert not (tmp_path / "finished.json").exists()


@pytest.mark.parametrize("nan_at", [None, 4])
def test_dashboards_are_closed_on_errors_too(tmp_path, monkeypatch, nan_at):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("first", "second"):  # the second would go on with the first's dashboard, were that open
        folder = tmp_path / name
        folder.mkdir()
        loop = Loop(make_config(), folder, Tracker("wandb"))
        if nan_at is None:
            loop.fit(nn.Linear(5, 1), Regression(8))
        else:
            with pytest.raises(ValueError, match="became nan"):
                loop.fit(nn.Linear(5, 1), Regression(8, nan_at=nan_at))
        assert wandb.run is None
        assert list((folder / "wandb").glob("offline-run-*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gradient_accumulation": 3}, "must be a multiple of 1 processes x 3"),
        ({"keep": "accuracy"}, r"neither 'last' nor one of this run's metrics .*: error \(lower is better\)"),
        ({"keep": "error"}, "loop.keep=error has the last evaluation alone to choose from .*set loop.evaluate_every"),
    ],
)
def test_options_that_do_not_fit_the_run_are_refused_before_its_first_step(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, Regression(8, interrupt_at=0), **changes)


def test_a_machine_without_a_compiler_is_told_so_before_training(tmp_path, monkeypatch):
    def fails(*args, **options):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(ValueError, match=r"No working C\+\+ compiler found\).*apt-get install g\+\+") as error:
        run(tmp_path, compile=True)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_damaged_resume_state_is_refused(tmp_path):
    (tmp_path / "resume.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="start again with overwrite=true"):
        run(tmp_path, resume=True)


def test_a_run_that_goes_on_in_another_precision_says_so(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Regression(8, interrupt_at=5), precision="fp32")
    run(tmp_path, resume=True, precision="bf16")
    summary = json.loads((tmp_path / "finished.json").read_text())
    assert summary["precision"] == "fp32, bf16" and summary["device"].startswith("cpu (")
    assert "started in fp32, continues in bf16" in capsys.readouterr().err

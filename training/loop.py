"""The one training loop: precision, processes, checkpoints and logs. A stage brings a model and a Task."""

from __future__ import annotations

import atexit
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from ema_pytorch import EMA
from torch import Tensor, nn
from tqdm import tqdm

from common.device import announce, best_device, choose_precision, computing_on
from common.files import whole_file, write_whole
from common.randomness import mixed_seed
from training.batches import StepRandom
from training.compiler import check_compiler
from training.kept_weights import Better, KeptWeights
from training.loop_config import LoopConfig
from training.run_folder import METRICS, RESUME, TABLES, finish_run, run_options
from training.schedule import learning_rate_factor, parameter_groups
from training.tracking import Tracker, finish_trackers, start_tracker, tracker_arguments


@dataclass
class Evaluation:
    """What a Task's `evaluate` returns: metrics, and tables (columns, rows of JSON values) such as sample captions."""

    metrics: dict[str, float]
    tables: dict[str, tuple[list[str], list[list[Any]]]] = field(default_factory=dict)


Model = TypeVar("Model", bound=nn.Module)
TaskModel = TypeVar("TaskModel", bound=nn.Module, contravariant=True)


class Task(Protocol[TaskModel]):
    """What a stage must bring to the loop, for models of its class."""

    def loss(self, model: TaskModel, random: StepRandom) -> dict[str, Tensor]:
        """Scalars over this process's rows of step `random.step`; "loss" is differentiated, all are logged.

        Each must be a mean over rows, so that the mean over processes is the mean over the global batch.
        """
        ...

    def evaluate(self, model: TaskModel) -> Evaluation:
        """Measure the (EMA) weights on validation data."""
        ...

    @property
    def better(self) -> Mapping[str, Better]:
        """The metrics of `evaluate` that may choose the weights (`loop.keep`), each with the values that are better."""
        ...

    @property
    def save(self) -> Callable[[TaskModel, Path], None]:
        """Write the (EMA) weights as a loadable checkpoint into a folder."""
        ...


class Loop:
    """Owns accelerate: create it first, put the data on `device`, then call `fit`.

    Raises:
        ValueError: the global batch does not divide among processes and micro-batches.
    """

    def __init__(self, config: LoopConfig, output_dir: str | Path, tracker: Tracker | None = None):
        self.config = config
        self.output_dir = Path(output_dir)
        self.tracker = tracker
        # Stages may follow one another in one process, each with its own precision. accelerate's shared state would
        # refuse the second one, and has no public way to reset it. The group of processes is in PartialState and stays.
        AcceleratorState._reset_state()
        atexit.unregister(_leave_group)
        device = best_device()
        self.precision = choose_precision(config.precision, device, "loop.precision")
        if self.precision == "fp16" and device.type == "cpu":
            raise ValueError("loop.precision=fp16 needs a GPU: set it to auto, bf16 or fp32")
        self.accelerator = Accelerator(
            mixed_precision="no" if self.precision == "fp32" else self.precision,
            # Else accelerate does not join torchrun's processes on a machine without a GPU: each would run alone.
            cpu=device.type == "cpu",
            **tracker_arguments(tracker, output_dir),
            # Our buffers (means, schedules, memories) never change while training: nothing to send around.
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        parts = self.accelerator.num_processes * config.gradient_accumulation
        if config.batch_size % parts:
            raise ValueError(
                f"batch_size={config.batch_size} (option loop.batch_size, global) must be a multiple of "
                f"{self.accelerator.num_processes} processes x {config.gradient_accumulation} micro-batches"
            )
        self._micro_rows = config.batch_size // parts

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def fit(self, model: Model, task: Task[Model], resume: bool = False, pretrained: bool = False) -> dict[str, float]:
        """Train, from the folder's resume state if `resume`; returns the last evaluation's metrics.

        `pretrained`: the model has learned before. Where a metric chooses the weights, these may be the ones to keep.

        The folder then holds the checkpoint (`Task.save`), `metrics.jsonl`, `tables.jsonl` if the task makes tables,
        and `finished.json`. SIGINT finishes the step, writes checkpoint and resume state and raises KeyboardInterrupt;
        in the last step and the last evaluation it does so when the run is finished.

        Raises:
            ValueError: `keep` names no metric of the task, or there is one evaluation alone to choose from; or loss,
                weights or that metric are no longer finite: no checkpoint is written then.
        """
        config, accelerator = self.config, self.accelerator
        self._kept = KeptWeights(config, task.better, pretrained)
        model.to(self.device)
        ema: Any = None
        if config.ema_decay is not None:
            ema = EMA(model, beta=config.ema_decay, update_every=config.ema_every, include_online_model=False)
        optimizer = torch.optim.AdamW(
            parameter_groups(model, config.weight_decay),
            lr=config.learning_rate,
            betas=config.betas,
            fused=self.device.type in ("cpu", "cuda"),  # one pass over the weights; on a CPU six times as fast
        )
        wrapped, prepared = accelerator.prepare(model, optimizer)
        if config.compile:
            check_compiler(self.device)
            model.compile()  # in place: the names of its weights stay, and so do checkpoints
        state = _State(model, optimizer, ema, accelerator.scaler, step=0, precision=self.precision)
        if accelerator.is_main_process:
            announce(f"Training {self.output_dir.name}", self.device, self.precision)
        if resume:
            self._kept.best = state.load(self.output_dir / RESUME)
            if accelerator.is_main_process:
                for name in (METRICS, TABLES):
                    _drop_lines_after(self.output_dir / name, state.step)
            accelerator.wait_for_everyone()
        options = run_options(self.output_dir) or {"loop": asdict(config)}
        start_tracker(accelerator, self.tracker, self.output_dir, options, "training")
        try:
            if pretrained and state.step == 0 and config.keep != "last":
                self._keep(model, task, self._evaluate(model, task, step=0), step=0)
            metrics = self._train(wrapped, prepared, task, state)
        finally:
            finish_trackers(accelerator)
        if accelerator.is_main_process:
            samples, seconds = state.step * config.batch_size, round(state.seconds, 1)
            trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
            summary: dict[str, Any] = {"steps": state.step, "samples": samples, "seconds": seconds}
            summary["trained_parameters"] = trained
            where = {"precision": state.precision, "device": computing_on(self.device, self.precision)}
            finish_run(self.output_dir, {**summary, **where, **metrics})
        accelerator.wait_for_everyone()
        atexit.register(_leave_group)  # not after an error: the other processes would be waited for
        if state.interrupted:
            raise KeyboardInterrupt(f"The training in {self.output_dir} is finished.")
        return metrics

    def _train(self, wrapped: nn.Module, prepared: Any, task: Task[Any], state: _State) -> dict[str, float]:
        """Steps from `state.step` to the end; `wrapped` and `prepared` are accelerate's model and optimizer."""
        config, accelerator = self.config, self.accelerator
        averaged = state.ema.ema_model if state.ema else state.model
        metrics: dict[str, float] = {}
        began, began_step, seconds_before = time.perf_counter(), state.step, state.seconds
        bar = tqdm(
            total=config.steps, initial=state.step, desc=self.output_dir.name, unit="step",
            disable=not accelerator.is_main_process, dynamic_ncols=True,
        )  # fmt: skip
        with _deferred_interrupt() as interrupted, bar:
            while state.step < config.steps:
                factor = learning_rate_factor(state.step, config.steps, config.warmup_steps, config.schedule)
                for group in state.optimizer.param_groups:
                    group["lr"] = config.learning_rate * factor
                losses = self._step(wrapped, prepared, task, state.step)
                if state.ema:
                    state.ema.update()
                state.step += 1
                state.seconds = seconds_before + time.perf_counter() - began
                bar.update()
                last = state.step == config.steps
                stop = self._anyone(bool(interrupted)) and not last
                log = last or state.step % config.log_every == 0
                evaluate = last or _is_due(state.step, config.evaluate_every)
                checkpoint = not last and (stop or _is_due(state.step, config.checkpoint_every))
                scalars: dict[str, float] = {}
                if log or evaluate or checkpoint:
                    scalars = {name: self._over_processes(value, "mean") for name, value in losses.items()}
                    self._check_finite(scalars["loss"], state, weights=evaluate or checkpoint)
                if log:
                    rate = (state.step - began_step) * config.batch_size / (time.perf_counter() - began)
                    speed = {"learning_rate": config.learning_rate * factor, "samples_per_second": rate}
                    self._log(state.step, {**scalars, **speed})
                    bar.set_postfix(loss=f"{scalars['loss']:.4f}", refresh=False)
                if evaluate:
                    metrics = self._evaluate(averaged, task, state.step)
                    self._keep(averaged, task, metrics, state.step)
                if checkpoint:
                    self._checkpoint(averaged, task, state)
                if stop:
                    raise KeyboardInterrupt(
                        f"Checkpoint at step {state.step} of {config.steps} in {self.output_dir}: "
                        "the same command resumes there."
                    )
            state.interrupted = self._anyone(bool(interrupted))
        return metrics

    def _step(self, model: nn.Module, optimizer: Any, task: Task[Any], step: int) -> dict[str, Tensor]:
        config, accelerator = self.config, self.accelerator
        model.train()
        totals: dict[str, Tensor] = {}
        for micro in range(config.gradient_accumulation):
            start = (accelerator.process_index * config.gradient_accumulation + micro) * self._micro_rows
            rows = slice(start, start + self._micro_rows)
            torch.manual_seed(mixed_seed(config.seed, 2, step, start))  # dropout
            random = StepRandom(config.seed, step, config.batch_size, rows, self.device)
            last = micro == config.gradient_accumulation - 1
            with nullcontext() if last else accelerator.no_sync(model):
                losses = task.loss(model, random)
                accelerator.backward(losses["loss"] / config.gradient_accumulation)
            for name, value in losses.items():
                totals[name] = totals.get(name, 0) + value.detach().float() / config.gradient_accumulation
        accelerator.unscale_gradients()  # once: accelerate's own clipping does it each time, which a scaler refuses
        if config.clip_value is not None:
            torch.nn.utils.clip_grad_value_(model.parameters(), config.clip_value)
        if config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return totals

    def _anyone(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all must leave the loop at the same step."""
        if self.accelerator.num_processes == 1:
            return flag
        return self._over_processes(torch.tensor(float(flag), device=self.device), "sum") > 0

    def _over_processes(self, value: Tensor, reduction: str) -> float:
        reduced: Any = self.accelerator.reduce(value, reduction)
        return reduced.item()

    def _check_finite(self, loss: float, state: _State, weights: bool) -> None:
        """Stop before anything that is not finite is kept; the last step may break weights that had a finite loss."""
        broken = None if math.isfinite(loss) else f"The loss became {loss}"
        if weights and not broken and not all(weight.isfinite().all() for weight in state.model.parameters()):
            broken = "The weights became infinite or nan"
        if broken:
            raise ValueError(
                f"{broken} at step {state.step}: lower loop.learning_rate (now {self.config.learning_rate}) "
                "or set loop.precision=fp32; earlier checkpoints are kept"
            )

    @torch.no_grad()
    def _evaluate(self, model: nn.Module, task: Task[Any], step: int) -> dict[str, float]:
        model.eval()
        with self.accelerator.autocast():
            evaluation = task.evaluate(model)
        self._log(step, evaluation.metrics)
        if evaluation.tables and self.accelerator.is_main_process:
            tables = {name: {"columns": columns, "rows": rows} for name, (columns, rows) in evaluation.tables.items()}
            self._append(TABLES, {"step": step, **tables})
            if self.tracker:
                self.tracker.log_samples(self.accelerator, evaluation.tables, step, self.output_dir)
        return evaluation.metrics

    def _keep(self, model: nn.Module, task: Task[Any], metrics: dict[str, float], step: int) -> None:
        """Write the weights if they are the ones to keep so far."""
        if self._kept.takes(metrics, step) and self.accelerator.is_main_process:
            task.save(model, self.output_dir)

    def _checkpoint(self, model: nn.Module, task: Task[Any], state: _State) -> None:
        if self.accelerator.is_main_process:
            if self._kept.are_latest:
                task.save(model, self.output_dir)
            state.save(self.output_dir / RESUME, self._kept.best)  # last: it says that the folder can be resumed
        self.accelerator.wait_for_everyone()

    def _log(self, step: int, metrics: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            self._append(METRICS, {"step": step, **metrics})
        self.accelerator.log(metrics, step=step)

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with (self.output_dir / name).open("a") as file:
            file.write(json.dumps(line) + "\n")


@dataclass
class _State:
    """All that a run needs to resume exactly: tensors and plain containers, read back with weights_only=True."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Any  # EMA | None
    scaler: Any
    step: int
    precision: str = "fp32"  # "bf16, fp32" after a resumption on other hardware
    seconds: float = 0.0  # spent training, interruptions left out
    interrupted: bool = False  # too late to stop before the end

    def save(self, path: Path, best: float) -> None:
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        progress = {"step": self.step, "seconds": self.seconds, "precision": self.precision, "best": best}
        with whole_file(path) as temporary:
            torch.save({**progress, **parts}, temporary)

    def load(self, path: Path) -> float:
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)  # the parts know their devices
            for name, part in self._parts().items():
                part.load_state_dict(saved[name])
            self.step, self.seconds = saved["step"], saved["seconds"]
            before = saved.get("precision", self.precision)  # runs of earlier versions did not say
        except Exception as error:  # a truncated or foreign file fails in many ways; all mean the same to the user
            raise ValueError(f"{path} cannot be resumed from ({error}): start again with overwrite=true") from error
        if self.precision not in before:
            print(f"{path.parent.name}: started in {before}, continues in {self.precision}", file=sys.stderr)
            before += f", {self.precision}"
        self.precision = before
        return saved["best"]

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "ema": self.ema, "scaler": self.scaler}
        return {name: part for name, part in parts.items() if part is not None}


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _drop_lines_after(path: Path, step: int) -> None:
    """Remove the lines of later steps, which a resumed run writes again, and a line that a kill cut short."""
    if not path.exists():
        return
    lines = path.read_text().splitlines()
    try:
        json.loads(lines[-1] if lines else "{}")
    except json.JSONDecodeError:
        lines.pop()
    write_whole(path, "".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= step))


def _leave_group() -> None:
    """At exit: leave the group of processes, since torch warns of one that is not left."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def _deferred_interrupt():
    """Collect SIGINTs in a list instead of raising in the middle of a step. A second one raises at once."""
    seen: list[int] = []

    def handler(number, frame):
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    try:
        previous = signal.signal(signal.SIGINT, handler)
    except ValueError:  # not in the main thread: interrupts cannot arrive here
        yield seen
        return
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, previous)

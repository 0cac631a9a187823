"""Finished evaluations that differ in one or two options: these options, and the metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandas import DataFrame

from evaluation.captions.result import EvaluationResult
from evaluation.reading import read_object
from evaluation.reports.sweep_plots import in_order
from evaluation.table import Column, Table
from training.run_folder import run_options

# Paths that a run reads and writes; what it read is in its other options.
_NOT_COMPARED = {
    "name", "output_dir", "runs_dir", "overwrite", "tracker", "hydra", "inputs", "method", "cache_dir", "defaults",
    "alignment.diffusion", "alignment.steps", "loop.checkpoint_every", "loop.log_every", "stage_experiment",
}  # fmt: skip
_SEEDS = ("seed", "ddpm.seed")


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        folder: of its files.
        options: {dotted name: value} of itself, of its captioner's training (as in configs/image_captioning.yaml) and,
            after `ddpm.`, of its diffusion model's.
        result: of `scores.json`.
    """

    folder: Path
    options: Mapping[str, Any]
    result: EvaluationResult

    @property
    def seeds(self) -> tuple:
        return tuple(self.options.get(key) for key in _SEEDS)

    def metric(self, name: str) -> float | None:
        """A metric, such as CIDEr, or another number of the scores by its path, such as gap.paired_cosine.

        Raises:
            ValueError: there is none of this name.
        """
        metrics = self.result.metrics
        if name in metrics:
            return metrics[name]
        value: Any = self.result.to_json()
        try:
            for key in name.split("."):
                value = value[key]
            return float(value)
        except (KeyError, TypeError, ValueError):
            known = ", ".join(metrics)
            raise ValueError(f"metric={name} is not in {self.folder}/scores.json, which has {known}") from None


def read_evaluation(folder: str | Path) -> Evaluation:
    """The evaluation in `folder`. Options of the inference side that it changed replace the alignment's.

    Options of the training are those in the run folders of the captioner and of its diffusion model.

    Raises:
        FileNotFoundError: there is no `scores.json`.
        ValueError: the evaluation was stopped, or its file is damaged.
    """
    folder = Path(folder)
    if not (folder / "scores.json").is_file():
        raise FileNotFoundError(f"No scores.json in {folder} (option evaluations): it holds no finished evaluation")
    result = EvaluationResult.from_json(read_object(folder / "scores.json", "evaluations"))
    if result.unfinished:
        raise ValueError(f"{folder} (option evaluations) holds an evaluation that was stopped: run its command again")
    inputs, config = result.inputs or {}, run_options(folder)
    checkpoint = result.checkpoint or config.get("checkpoint")
    training = run_options(checkpoint) if checkpoint else {}
    diffusion = training.get("alignment", {}).get("diffusion")
    options = _flat(training) | _flat({"ddpm": run_options(diffusion) if diffusion else {}})
    kept = ("split", "caption_from", "image_mean_from", "precision")
    options |= {key: inputs[key] for key in kept if key in inputs}
    options |= _flat({"decoding": result.decoding or {}})
    options["evaluated_on"] = result.evaluated_on and result.evaluated_on.dataset
    if inputs.get("alignment"):  # another chain than the captioner's
        options["image_alignment"] = config.get("alignment", {}).get("name") or inputs["alignment"]
    options |= {f"alignment.{key}": value for key, value in inputs.get("image_side", {}).items()}
    return Evaluation(folder, options, result)


def swept_options(evaluations: Sequence[Evaluation], named: Sequence[str] = ()) -> list[str]:
    """The one or two options in which the evaluations differ, seeds aside.

    Args:
        named: options to choose, by their whole names or ends such as `noise_std`. By default all that differ, except
            those that follow from others (the beams from the strategy).

    Raises:
        ValueError: no option or more than two options differ.
    """
    values = DataFrame([evaluation.options for evaluation in evaluations], dtype=object)
    values = values.drop(columns=list(_SEEDS), errors="ignore").map(_text)
    counts: Any = values.nunique()
    varying = counts[counts > 1].index
    if named:
        chosen: list[str] = [_named(option, varying, values.columns) for option in named]
    else:
        chosen = []
        for key in counts[varying].sort_values(ascending=False, kind="stable").index:
            if not any(values.groupby(other)[key].nunique().max() == 1 for other in chosen):
                chosen.append(key)
        chosen = [key for key in varying if key in chosen]
    if not chosen:
        raise ValueError(
            f"The {len(evaluations)} evaluation(s) do not differ in any option but the seed: give others with sweep=..."
        )
    if len(chosen) > 2:
        differences = "; ".join(f"{key}: {', '.join(values[key].unique())}" for key in chosen)
        raise ValueError(
            f"The evaluations differ in {len(chosen)} options, a plot shows two ({differences}): give fewer "
            "evaluations, or choose options with options=[...]"
        )
    return chosen


def sweep_runs(evaluations: Sequence[Evaluation], options: Sequence[str], metric: str) -> DataFrame:
    """One row per evaluation, in the options' order: their values, the metric, and the `evaluation`, its folder.

    Raises:
        ValueError: two evaluations have the same values and seed, or the metric could not run.
    """
    first: dict[tuple, Evaluation] = {}
    for evaluation in evaluations:
        values = tuple(_text(evaluation.options.get(option)) for option in options)
        earlier = first.setdefault((values, evaluation.seeds), evaluation)
        if earlier is not evaluation:
            shared = dict.fromkeys((*earlier.options, *evaluation.options))
            other = [key for key in shared if earlier.options.get(key) != evaluation.options.get(key)]
            also = f"they differ in {', '.join(other)}" if other else "they are of the same options"
            raise ValueError(
                f"{earlier.folder} and {evaluation.folder} have the same {', '.join(options)} and seed ({also}): "
                "leave one of them out of sweep=[...]"
            )
        if evaluation.metric(metric) is None:
            raise ValueError(f"metric={metric} could not run in {evaluation.folder}, as its scores.json says")
    values = {option: in_order([_plain(e.options.get(option)) for e in evaluations]) for option in options}
    metrics, folders = [e.metric(metric) for e in evaluations], [str(e.folder) for e in evaluations]
    return DataFrame({**values, metric: metrics, "evaluation": folders}).sort_values(list(options), kind="stable")


def sweep_points(runs: DataFrame, options: Sequence[str], metric: str) -> list[dict]:
    """One entry per combination of the options' values: `options` {name: value}, `values` of the metric by seed,
    `evaluations`, their folders."""
    points = runs.groupby(list(options), observed=True)[[metric, "evaluation"]].agg(list).reset_index()
    return [
        {"options": {o: point[o] for o in options}, "values": point[metric], "evaluations": point["evaluation"]}
        for point in points.to_dict("records")
    ]


def sweep_table(points: Sequence[Mapping], metric: str) -> Table:
    """One row per point: the options' values and the metric, mean ± standard deviation over seeds."""
    largest = max(abs(value) for point in points for value in point["values"])
    rows = [{o: str(value) for o, value in point["options"].items()} | {metric: point["values"]} for point in points]
    columns = [*map(Column, points[0]["options"]), Column(metric, 1 if largest >= 10 else 3, "higher")]
    return Table(rows, columns)


def _plain(value: object) -> float | str:
    """A value on an axis: None and lists become words."""
    return value if isinstance(value, int | float | str) else _text(value)


def _text(value: object) -> str:
    return "null" if value is None or value != value else str(value)  # pandas has NaN for a missing option


def _named(option: str, varying: Collection[str], known: Collection[str]) -> str:
    matches = [key for key in known if key == option] or [key for key in known if key.endswith(f".{option}")]
    if len(matches) > 1:
        matches = [key for key in matches if key in varying] or matches
    if len(matches) != 1 or matches[0] not in varying:
        what = "is ambiguous" if len(matches) > 1 else "does not differ among the evaluations"
        raise ValueError(f"options: {option} {what}; what differs: {', '.join(varying) or 'nothing'}")
    return matches[0]


def _flat(config: Mapping, before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{before}{key}"
        if name.removeprefix("ddpm.") in _NOT_COMPARED:
            continue
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat

"""Finished evaluations that differ in one or two options: which ones, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from omegaconf import OmegaConf

from evaluation.reading import read_object
from evaluation.table import Column, Table

# They say where a run reads and writes; what it read shows in its other options.
_NOT_COMPARED = {
    "name", "output_dir", "runs_dir", "overwrite", "tracker", "hydra", "inputs", "method", "cache_dir", "defaults",
    "alignment.diffusion", "alignment.steps", "loop.checkpoint_every", "loop.log_every", "stage_experiment",
}  # fmt: skip
_SEEDS = ("seed", "ddpm.seed")


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation: options {dotted name: value} of itself, its captioner's training (as in
    configs/image_captioning.yaml) and, after `ddpm.`, its diffusion model's; figures as in `scores.json`."""

    folder: Path
    options: Mapping[str, object]
    figures: Mapping

    @property
    def seeds(self) -> tuple:
        return tuple(self.options.get(key) for key in _SEEDS)

    def figure(self, name: str) -> float | None:
        """A metric, such as CIDEr, or a figure by its place: gap.paired_cosine. Raises ValueError for another name."""
        if name in self.figures["metrics"]:
            return self.figures["metrics"][name]
        try:
            return float(reduce(lambda part, key: part[key], name.split("."), self.figures))
        except (KeyError, TypeError, ValueError):
            known = ", ".join(self.figures["metrics"])
            raise ValueError(f"metric={name} is not in {self.folder}/scores.json, which has {known}") from None


def read_evaluation(folder: str | Path) -> Evaluation:
    """The evaluation in `folder`. An option of the image side that it changed stands for the alignment's own.

    What can be known of the training is what lies in the captioner's run folder and in that of its diffusion model.
    Raises FileNotFoundError without `scores.json`.
    """
    folder = Path(folder)
    if not (folder / "scores.json").is_file():
        raise FileNotFoundError(f"No scores.json in {folder} (option evaluations): it holds no finished evaluation")
    figures = read_object(folder / "scores.json", "evaluations")
    if figures.get("unfinished"):
        raise ValueError(f"{folder} (option evaluations) holds an evaluation that was stopped: run its command again")
    inputs, own = figures.get("inputs", {}), _config(folder)
    checkpoint = figures.get("checkpoint") or own.get("checkpoint")
    training = _config(Path(checkpoint)) if checkpoint else {}
    diffusion = training.get("alignment", {}).get("diffusion")
    options = _flat(training) | _flat({"ddpm": _config(Path(diffusion)) if diffusion else {}})
    kept = ("split", "caption_from", "image_mean_from", "precision")
    options |= {key: inputs[key] for key in kept if key in inputs}
    options |= _flat({"decoding": figures.get("decoding", {})})
    options["evaluated_on"] = figures.get("evaluated_on", {}).get("dataset")
    if inputs.get("alignment"):  # another chain in the place of the captioner's
        options["image_alignment"] = own.get("alignment", {}).get("name") or inputs["alignment"]
    options |= {f"alignment.{key}": value for key, value in inputs.get("image_side", {}).items()}
    return Evaluation(folder, options, figures)


def swept_options(evaluations: Sequence[Evaluation], named: Sequence[str] = ()) -> list[str]:
    """The one or two options in which the evaluations differ, seeds aside.

    named: options to choose, by their whole names or ends such as `noise_std`; by default all that differ, of which one
    that follows from another (the beams from the strategy) is left out.
    Raises ValueError when nothing or more differs than that, naming it.
    """
    keys = dict.fromkeys(key for evaluation in evaluations for key in evaluation.options if key not in _SEEDS)
    columns = {key: [str(evaluation.options.get(key)) for evaluation in evaluations] for key in keys}
    varying = [key for key, values in columns.items() if len(set(values)) > 1]
    if named:
        chosen = [_named(option, varying, columns) for option in named]
    else:
        chosen = []
        for key in sorted(varying, key=lambda key: -len(set(columns[key]))):
            if not any(_determines(columns[other], columns[key]) for other in chosen):
                chosen.append(key)
        chosen.sort(key=varying.index)
    if not chosen:
        raise ValueError(
            f"The {len(evaluations)} evaluation(s) do not differ in any option but the seed: give "
            "others with evaluations=..."
        )
    if len(chosen) > 2:
        told = "; ".join(f"{key}: {', '.join(dict.fromkeys(columns[key]))}" for key in chosen)
        raise ValueError(
            f"The evaluations differ in {len(chosen)} options, a plot shows two ({told}): give fewer evaluations, "
            "or say which are the ones with options=[...]"
        )
    return chosen


def sweep_points(evaluations: Sequence[Evaluation], options: Sequence[str], metric: str) -> list[dict]:
    """One entry for each combination of the options' values: `options` {name: value}, `values` of the metric by seed,
    `evaluations`, their folders.

    Raises ValueError when two evaluations have the same values and seed, or the metric could not run.
    """
    points: dict[tuple, dict] = {}
    seeds: dict[tuple, Evaluation] = {}
    for evaluation in evaluations:
        values = tuple(evaluation.options.get(option) for option in options)
        earlier = seeds.setdefault((str(values), evaluation.seeds), evaluation)
        if earlier is not evaluation:
            shared = dict.fromkeys((*earlier.options, *evaluation.options))
            other = [key for key in shared if earlier.options.get(key) != evaluation.options.get(key)]
            also = f"they differ in {', '.join(other)}" if other else "they are of the same options"
            raise ValueError(
                f"{earlier.folder} and {evaluation.folder} have the same {', '.join(options)} and seed ({also}): "
                "leave one of them out of evaluations=..."
            )
        if (figure := evaluation.figure(metric)) is None:
            raise ValueError(f"metric={metric} could not run in {evaluation.folder}, as its scores.json says")
        point = points.setdefault(
            str(values), {"options": dict(zip(options, values, strict=True)), "values": [], "evaluations": []}
        )
        point["values"].append(figure)
        point["evaluations"].append(str(evaluation.folder))
    return list(points.values())


def sweep_table(points: Sequence[Mapping], metric: str) -> Table:
    """One row a point: the options' values and the metric, mean ± standard deviation over seeds."""
    options = list(points[0]["options"])
    largest = max(abs(value) for point in points for value in point["values"])
    rows = [{name: str(value) for name, value in point["options"].items()} for point in points]
    rows = [row | {metric: point["values"]} for row, point in zip(rows, points, strict=True)]
    columns = [*(Column(option) for option in options), Column(metric, 1 if largest >= 10 else 3, "higher")]
    return Table(rows, columns)


def _named(option: str, varying: Sequence[str], columns: Mapping) -> str:
    found = [key for key in columns if key == option] or [key for key in columns if key.endswith(f".{option}")]
    if len(found) > 1:
        found = [key for key in found if key in varying] or found
    if len(found) != 1 or found[0] not in varying:
        what = "is ambiguous" if len(found) > 1 else "does not differ among the evaluations"
        raise ValueError(f"options: {option} {what}; what differs: {', '.join(varying) or 'nothing'}")
    return found[0]


def _determines(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether each value of `one` goes with one value of `other`."""
    return len(set(zip(one, other, strict=True))) == len(set(one))


def _config(folder: Path) -> dict:
    path = folder / "config.yaml"
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path.is_file() else {}


def _flat(config: Mapping, before: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in config.items():
        name = f"{before}{key}"
        if name.removeprefix("ddpm.") in _NOT_COMPARED:
            continue
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found

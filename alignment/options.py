"""A method's config as the entries of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig

from alignment.step import Step, StepTypes
from common.plain import plain

NOT_OPTIONS = ("name", "steps")


def step_entries(method: Mapping[str, Any], step_types: StepTypes) -> list[dict]:
    """The entries `{"step": name, **options}` of a method, from which `Alignment.from_store` builds its chain.

    Args:
        method: `steps`, the names of the steps in order, and the options beside them. An option goes to every step that
            has one of its name. An item of `steps` may also be a whole entry, which gets no option from beside.
        step_types: the steps' classes by name.

    Raises:
        ValueError: an unknown step, an entry without a step, or an option that no step has.
    """
    options = {name: value for name, value in method.items() if name not in NOT_OPTIONS}
    entries, known = [], set()
    for item in method["steps"]:
        entry = dict(item) if isinstance(item, Mapping) else {"step": item}
        names = step_type(entry, step_types).option_names()
        known |= names
        if not isinstance(item, Mapping):
            entry |= {name: value for name, value in options.items() if name in names}
        entries.append(entry)
    unknown = sorted(set(options) - known)
    if unknown and not any(isinstance(item, Mapping) for item in method["steps"]):  # entries may interpolate them
        raise ValueError(
            f"alignment.{unknown[0]} is an option of no step in alignment.steps; known: {', '.join(sorted(known))}"
        )
    return entries


def expand_steps(method: DictConfig, step_types: StepTypes) -> list[dict]:
    """`step_entries` of a composed config. They also replace its `steps`, so that run folders record whole entries."""
    entries = step_entries(plain(method), step_types)
    method.steps = entries
    return entries


def training_side(entries: Iterable[Mapping], step_types: StepTypes) -> list[dict]:
    """The part of a method's entries that concerns its training side.

    Chains that share it do the same to texts, so that a decoder trained with one of them can read images aligned by the
    others. A step that learned from pairs, or that has an estimated option (perhaps from pairs), is kept whole, since
    results of the decoder must say so.
    """
    kept: list[dict] = []
    for entry in entries:
        step, options = step_type(entry, step_types), dict(entry)
        if not step.uses_pairs and "auto" not in options.values():
            left_out = (*step.inference_options, "estimate")
            options = {name: value for name, value in options.items() if name not in left_out}
            if not step.changes_training_rows or (kept and options == kept[-1] == {"step": "Normalize"}):
                continue
        kept.append(options)
    return kept


def step_type(entry: Mapping, step_types: StepTypes) -> type[Step]:
    """The class that an entry names.

    Raises:
        ValueError: an entry without `step`, or an unknown step.
    """
    if "step" not in entry:
        raise ValueError(f"An entry of alignment.steps needs a key 'step'; got {dict(entry)}")
    name = entry["step"]
    if name not in step_types:
        raise ValueError(f"Unknown alignment step {name!r} (option alignment.steps); known: {', '.join(step_types)}")
    return step_types[name]

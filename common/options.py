"""Options, brought into the form of their defaults or refused in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.option_rules import (
    BESIDE,
    COUNT,
    EACH_ONCE,
    LISTS,
    LISTS_OF_NAMES_OR_PARTS,
    LISTS_OR_FILES,
    LISTS_OR_NULL,
    MAYBE_NULL,
    NEVER_EMPTY,
    NOT_NEGATIVE,
    NUMBERS,
    ONE_OR_LIST,
    ONE_OR_PARTS,
    OPEN,
    Number,
    entry,
)
from common.paths import CONFIGS
from common.plain import plain

_TAKES = {list: ONE_OR_LIST, dict: (*ONE_OR_PARTS, *MAYBE_NULL)}  # where one value is usual
Plain = str | int | float | bool | None


def fit_options(config: DictConfig, stage: str, choices: Mapping[str, str | None]) -> DictConfig:
    """The composed config of `configs/<stage>.yaml`, changed in place.

    Where a list is expected, one word or number becomes a list of one. Where text is expected, a number becomes text.

    Args:
        config: as Hydra composed it, while Hydra is running.
        choices: Hydra's `runtime.choices`, {group: its chosen config}.

    Raises:
        ValueError: an option does not exist, or its value is of another kind than the default or out of its range
            (`option_rules`).
    """
    # Experiments are values, not defaults.
    chosen = {group: name for group, name in choices.items() if not group.startswith(("experiment", "hydra/"))}
    groups = tuple((group, name) for group, name in sorted(chosen.items()) if name is not None)
    _Fitting(config, stage).fit_parts((), plain(config, resolve=False), _defaults(stage, groups))
    return config


def no_option(key: str, stage: str, known: list[str]) -> str:
    """The sentence on an option that does not exist, with those of the `known` that it may be meant for."""
    parent, _, last = key.rpartition(".")
    alike = [name for name in known if name.rpartition(".")[2] == last]
    beside = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == parent}
    near = alike or [beside[name] for name in get_close_matches(last, beside, n=2, cutoff=0.7)]
    near = near or ([] if beside else get_close_matches(key, known, n=2, cutoff=0.7))
    hint = f", but {' and '.join(near)}" if near else ""
    return f"There is no option {key}{hint}: see configs/{stage}.yaml, and --help for all"


def addable(option: str) -> bool:
    """Whether the option is none of the config's, but may be added with a + before it."""
    group = option.partition(".")[0]
    return group in BESIDE and "." in option and option in _options_of_group(group)


def keys(config: Mapping, above: str = "") -> list[str]:
    """Every key of the config and of what it holds, with dots."""
    names = []
    for name, value in config.items():
        names.append(f"{above}{name}")
        names += keys(value, f"{above}{name}.") if isinstance(value, Mapping) else []
    return names


@cache
def _defaults(stage: str, groups: tuple[tuple[str, str], ...]) -> dict:
    """The options' defaults, unresolved, with the same choice of groups."""
    # A group that was added has no defaults here.
    listed = {str(part) for part in OmegaConf.load(CONFIGS / f"{stage}.yaml").defaults}
    chosen = [f"{group}={name}" for group, name in groups if any(group in part for part in listed)]
    return plain(hydra.compose(stage, chosen), resolve=False)


@cache
def _options_of_group(group: str) -> frozenset[str]:
    """The options that any config of the group has, with the group's name before them."""
    files = (plain(OmegaConf.load(path), resolve=False) for path in CONFIGS.glob(f"{group}/*.yaml"))
    beside = {f"{group}.{name}" for name in BESIDE[group]}
    return frozenset({f"{group}.{name}" for content in files for name in keys(content)} | beside)


class _Fitting:
    """One config's values beside their defaults."""

    def __init__(self, config: DictConfig, stage: str):
        self.config, self.stage = config, stage
        self._places: dict[str, tuple] = {}  # names may have dots of their own

    def fit_parts(self, above: tuple, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        """Fit all options of one mapping, `values`, unresolved, which is in the config at `above`."""
        for name, value in values.items():
            place = (*above, name)
            option = ".".join(map(str, place))
            self._places[option] = place
            if name in defaults:
                self._fit(option, value, defaults[name])
            elif not self._may_be_added(option, defaults):
                known = keys(defaults, "".join(f"{part}." for part in above))
                raise ValueError(no_option(option, self.stage, known))
            elif isinstance(value, Mapping) or entry(LISTS, option) is not None:
                self._fit(option, value, {} if isinstance(value, Mapping) else None)

    def _set(self, option: str, value: Any) -> None:
        *above, name = self._places[option]
        reduce(getitem, above, self.config)[name] = value

    def _may_be_added(self, option: str, beside: Mapping[str, Any]) -> bool:
        parents = [option.rsplit(".", count)[0] for count in range(1, option.count(".") + 1)]
        if any(parent in OPEN for parent in parents):
            return True
        if parents == ["model"] and beside.get("kind") == "clip":  # the rest is open_clip's model configuration
            return True
        return addable(option)

    def _fit(self, option: str, value: Any, default: Any) -> None:
        if value == "???" or (value == default and type(value) is type(default)):
            return
        if isinstance(value, str) and "${" in value:
            value = self._resolved(option)
            if value is None:
                return
        if isinstance(default, Mapping):
            self._fit_mapping(option, value, default)
        elif isinstance(default, list) or entry(LISTS, option) is not None:
            self._fit_list(option, value, default if isinstance(default, list) else [])
        elif isinstance(value, (list, Mapping)) and option in _TAKES[type(value)]:
            return
        elif isinstance(value, list):
            raise ValueError(
                f"{option}={_shown(value)} must be one value and no list; one run for each of several: "
                f"-m {option}={','.join(map(str, value)) or '...'}"
            )
        elif isinstance(value, Mapping):
            raise ValueError(f"{option}={_shown(value)} must be one value and no parts")
        else:
            self._fit_one(option, value, default)

    def _fit_mapping(self, option: str, value: Any, default: Mapping[str, Any]) -> None:
        if isinstance(value, Mapping):
            self.fit_parts(self._places[option], value, default)
        elif not (value is None and option in MAYBE_NULL) and not (isinstance(value, str) and option in ONE_OR_PARTS):
            parts = ", ".join(f"{option}.{name}" for name in list(default)[:3])
            raise ValueError(f"{option}={_shown(value)} must have parts: give {parts}")

    def _fit_list(self, option: str, value: Any, default: list) -> None:
        if isinstance(value, Mapping):
            raise ValueError(f"{option}={_shown(value)} must be a list, such as {option}=[{_example(default)}]")
        if value is None:
            if entry(LISTS_OR_NULL, option) is None:
                raise ValueError(f"{option}=null must be a list; none is {option}=[]")
            return
        if isinstance(value, str) and (option in ONE_OR_LIST or (option in LISTS_OR_FILES and _is_file(option, value))):
            return
        rule = entry(LISTS, option) or _rule_of(default)
        items = value if isinstance(value, list) else [value]
        nested = list if entry(LISTS_OF_NAMES_OR_PARTS, option) is not None else (list, Mapping)
        if any(isinstance(item, nested) for item in items) and rule is not None:
            raise ValueError(f"{option}={_shown(value)} must be a list of single values, with no list or parts in it")
        if rule is str:
            items = [item if isinstance(item, Mapping) else self._text(option, item) for item in items]
        elif isinstance(rule, Number) and not all(rule.allows(item) for item in items):
            bad = next(item for item in items if not rule.allows(item))
            hint = f"; a list is {option}=[{bad}]" if isinstance(bad, str) and "," in bad else ""
            raise ValueError(f"{option}={_shown(value)}: each must be {rule}, and {bad!r} is not{hint}")
        elif rule is bool and not all(isinstance(item, bool) for item in items):
            raise ValueError(f"{option}={_shown(value)} must hold true and false alone")
        twice = [item for place, item in enumerate(items) if item in items[:place]]
        if twice and entry(EACH_ONCE, option) is not None:
            raise ValueError(f"{option}={_shown(value)} has {_shown(twice[0])} twice: leave one of them out")
        if items != value or not isinstance(value, list):
            self._set(option, items)

    def _fit_one(self, option: str, value: Plain, default: Plain) -> None:
        rule = entry(NUMBERS, option)
        if rule is None and isinstance(default, (int, float)) and not isinstance(default, bool):
            rule = COUNT if isinstance(default, int) else NOT_NEGATIVE
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"{option}={_shown(value)} must be true or false")
        elif rule is not None and not isinstance(default, str):
            if not rule.allows(value):
                raise ValueError(f"{option}={value!r} must be {rule}")
        elif isinstance(default, str) and value in (None, "") and option in NEVER_EMPTY:
            raise ValueError(f"{option}={_shown(value)} must not be null or empty: leave it out, or name something")
        elif isinstance(default, str) and value is not None:
            text = self._text(option, value)
            if text != value:
                self._set(option, text)

    def _text(self, option: str, value: Plain) -> str:
        if isinstance(value, bool) or value is None:
            raise ValueError(
                f"{option}={_shown(value)} must be text: quote it, as in '{option}=\"{_shown(value)}\"', if it is"
            )
        return str(value)

    def _resolved(self, option: str) -> Any:
        """What an interpolation stands for; None where that cannot be had yet."""
        try:
            value = reduce(getitem, self._places[option], self.config)
        except OmegaConfBaseException:
            return None
        return plain(value, resolve=False) if OmegaConf.is_config(value) else value


def _rule_of(default: list) -> type | Number | None:
    """What a list like the default may hold; None for anything, as steps are."""
    kinds = {type(item) for item in default}
    if kinds == {str}:
        return str
    if kinds == {bool}:
        return bool
    return Number(whole=kinds == {int}) if kinds and kinds <= {int, float} else None


def _is_file(option: str, value: str) -> bool:
    """Whether the value names a file. Raises ValueError for what must be a file's name and is none."""
    try:
        if Path(value).is_file():
            return True
    except OSError:  # longer than a name may be
        return False
    if "/" in value or Path(value).suffix.lower() in (".txt", ".csv", ".json", ".tsv", ".jsonl"):
        raise ValueError(f"{option}={value}: there is no such file; a list is {option}=[...]")
    return False


def _example(default: list) -> str:
    return ",".join(map(str, default[:2])) if default and not isinstance(default[0], Mapping) else "..."


def _shown(value: Any) -> str:
    """A value as a command line has it."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}: {_shown(part)}' for name, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))

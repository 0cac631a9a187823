"""What a comparison comes to, as its `results.json` holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pydantic import TypeAdapter

from embedding_space.media import Medium
from evaluation.reports.method_result import MethodResult
from evaluation.reports.pairwise import PairTest
from evaluation.reports.statistics import Interval, PairedComparison
from evaluation.reports.translation_result import TranslationResult
from evaluation.reports.tries import TryResult


@dataclass(frozen=True)
class CiderInterval:
    """CIDEr of a method and decoding over all seeds, with its interval.

    baseline, comparison: the method that it is compared with, and the difference from it; None without a comparison.
    """

    method: str
    decoding_name: str
    cider: Interval
    baseline: str | None = None
    comparison: PairedComparison | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry in `results.json`: the comparison's values are on the same level."""
        content = {"method": self.method, "decoding_name": self.decoding_name, "CIDEr": asdict(self.cider)}
        return content | ({"baseline": self.baseline, **asdict(self.comparison)} if self.comparison else {})

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CiderInterval:
        names = [known.name for known in fields(PairedComparison)]
        comparison = {name: content[name] for name in names} if "difference" in content else None
        entry = {"cider": content["CIDEr"], "baseline": content.get("baseline"), "comparison": comparison}
        named = {"method": content["method"], "decoding_name": content["decoding_name"]}
        return TypeAdapter(cls).validate_python(named | entry)


@dataclass(frozen=True)
class Plot:
    """A figure of a comparison: an SVG file in its folder."""

    file: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """A comparison of methods, or of translations. Older files lack newer fields: they have the defaults.

    facts: what else is known: the command, commit, date, machine and versions; the world's hash.
    config: of the comparison. notes: sentences below the tables. minutes: how long it took.
    store, store_path: hash and path of the embeddings. split, images: what was captioned, and how many of it; medium:
        what these "images" are.
    runs: of methods, each of a seed and a decoding. translations: such rows of a comparison of translations, which has
        no `runs`; both are `runs` in the file.
    pairwise: tests between every two methods.
    cross_domain: further runs, on other data sets. few_captions, few_pairs: further ones, of training on some of the
        captions, and of going on with some image-text pairs.
    tries: what chose the methods' settings.
    """

    title: str | None = None
    summary: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    store: str | None = None
    store_path: str | None = None
    split: str | None = None
    seeds: list[int] = field(default_factory=list)
    images: int | None = None
    medium: Medium = "image"
    intervals: list[CiderInterval] = field(default_factory=list)
    pairwise: list[PairTest] = field(default_factory=list)
    runs: list[MethodResult] = field(default_factory=list)
    translations: list[TranslationResult] = field(default_factory=list)
    cross_domain: list[MethodResult] = field(default_factory=list)
    few_captions: list[MethodResult] = field(default_factory=list)
    few_pairs: list[MethodResult] = field(default_factory=list)
    tries: list[TryResult] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    minutes: float | None = None
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """The title, or one of the configuration's name."""
        return self.title or f"Comparison {self.config.get('name', '')}".strip()

    @property
    def all_runs(self) -> list[MethodResult]:
        """The runs of all tables."""
        return [*self.runs, *self.cross_domain, *self.few_captions, *self.few_pairs]

    @property
    def baseline(self) -> str | None:
        """The method that others are compared with."""
        return next((interval.baseline for interval in self.intervals if interval.comparison), None)

    def to_json(self) -> dict[str, Any]:
        """What `results.json` holds; the facts are on its top level."""
        content = {name: value for name, value in vars(self).items() if value is not None}
        facts, translations = content.pop("facts"), content.pop("translations")
        rows = {
            "intervals": self.intervals,
            "pairwise": self.pairwise,
            "runs": translations or self.runs,
            "cross_domain": self.cross_domain,
            "few_captions": self.few_captions,
            "few_pairs": self.few_pairs,
        }
        content |= {name: [row.to_json() for row in of_name] for name, of_name in rows.items()}
        return {**facts, **content, **{name: [asdict(entry) for entry in content[name]] for name in ("plots", "tries")}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ComparisonResult:
        """The comparison that a `results.json` holds, of this version or an earlier one.

        Seeds and split that older files do not name are those of the runs.

        Raises:
            ValueError: a section is not of its kind, or lacks what it must have.
        """
        names = {known.name for known in fields(cls)} - {"facts", "translations"}
        rows = content["runs"]
        seeds = sorted({row["seed"] for row in rows if row["seed"] is not None})
        known = {"seeds": seeds, "split": rows[0].get("split")}
        known |= {name: value for name, value in content.items() if name in names}
        known["intervals"] = [CiderInterval.from_json(entry) for entry in content.get("intervals", ())]
        known["pairwise"] = [PairTest.from_json(entry) for entry in content.get("pairwise", ())]
        if "row" in rows[0]:
            known |= {"runs": [], "translations": [TranslationResult.from_json(row) for row in rows]}
        for name in ("runs", "cross_domain", "few_captions", "few_pairs"):
            known[name] = [MethodResult.from_json(row) for row in known.get(name, ())]
        facts = {name: value for name, value in content.items() if name not in names}
        return TypeAdapter(cls).validate_python(known | {"facts": facts})

"""Tables of retrieval and zero-shot classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from evaluation.embeddings.retrieval import RetrievalResult
from evaluation.embeddings.zero_shot import ZeroShotScores
from evaluation.table import Column, Table

RECALLS = {"R@1": "recall_at_1", "R@5": "recall_at_5", "R@10": "recall_at_10"}


@dataclass(frozen=True)
class AlignmentScores:
    """What embeddings are worth after an alignment, of that name; `uses_pairs`: whether it learned from pairs.

    retrieval: None where there are no captions. zero_shot: None where there are no classes.
    """

    alignment: str
    uses_pairs: bool
    retrieval: RetrievalResult | None = None
    zero_shot: ZeroShotScores | None = None

    def to_json(self) -> dict:
        content = {"alignment": self.alignment, "uses_pairs": self.uses_pairs}
        content |= asdict(self.retrieval) if self.retrieval else {}
        return content | ({"zero_shot": asdict(self.zero_shot)} if self.zero_shot else {})


def alignment_table(rows: Sequence[AlignmentScores]) -> Table:
    """One row per alignment; recalls and accuracies in percent."""
    columns, cells = [Column("alignment"), Column("uses pairs")], []
    if rows[0].retrieval:
        for arrow in ("i→t", "t→i"):
            columns += [Column(f"{arrow} {name}", 1, "higher") for name in RECALLS]
            columns.append(Column(f"{arrow} median", 1, "lower"))
        columns += [Column("cosine", 3, "higher"), Column("centroids apart", 3, "lower")]
    if rows[0].zero_shot:
        columns += [Column(name, 1, "higher") for name in percentages(rows[0].zero_shot)]
    for row in rows:
        line: dict = {"alignment": row.alignment, "uses pairs": "yes" if row.uses_pairs else "no"}
        if retrieval := row.retrieval:
            for arrow, scores in (("i→t", retrieval.image_to_text), ("t→i", retrieval.text_to_image)):
                line |= {f"{arrow} {name}": 100 * getattr(scores, key) for name, key in RECALLS.items()}
                line[f"{arrow} median"] = scores.median_rank
            line |= {"cosine": retrieval.paired_cosine, "centroids apart": retrieval.centroid_distance}
        cells.append(line | (percentages(row.zero_shot) if row.zero_shot else {}))
    return Table(cells, columns)


def classification_table(scores: Mapping[str, ZeroShotScores]) -> Table:
    """One row per way to classify, accuracies in percent."""
    columns = [Column("rows"), *(Column(name, 1, "higher") for name in percentages(next(iter(scores.values()))))]
    return Table([{"rows": name, **percentages(accuracy)} for name, accuracy in scores.items()], columns)


def percentages(scores: ZeroShotScores) -> dict[str, float]:
    """Accuracies under the tables' column names; top-5 says nothing of five classes or fewer."""
    top_5 = {"top-5 %": 100 * scores.top_5} if scores.classes > 5 else {}
    per_class = {"per class %": 100 * scores.mean_per_class, "R-precision %": 100 * scores.r_precision}
    return {"top-1 %": 100 * scores.top_1, **top_5, **per_class}

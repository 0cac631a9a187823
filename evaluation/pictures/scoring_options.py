"""How generated pictures are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from evaluation.captions.clip_score import ClipScoring
from evaluation.pictures.distances import KernelSubsets
from evaluation.pictures.sentences import RPrecision

METRICS = ("FID", "KID", "Frechet", "kernel", "CLIPScore", "R-precision", "diversity", "objects")


@dataclass(frozen=True)
class PictureScoring:
    """Options of the scores.

    metrics: names from `METRICS`: distances in Inception's features (FID, KID) and in the encoder's (Frechet, kernel);
        by an encoder of pictures and sentences CLIPScore and R-precision; diversity; and objects, where a caption judge
        knows the world of the pictures.
    picture_size: see `PictureProtocol`; None: the shortest side of the generated pictures.
    inception_weights: see `InceptionFeatures`.
    seed: of the kernel distances' subsets and of R-precision's candidates.

    Raises ValueError for other metrics.
    """

    metrics: Sequence[str] = METRICS
    picture_size: int | None = None
    inception_weights: str | None = None
    clip_score: ClipScoring = field(default_factory=lambda: ClipScoring(prefix=""))
    r_precision: RPrecision = field(default_factory=RPrecision)
    kernel: KernelSubsets = field(default_factory=KernelSubsets)
    seed: int = 0

    def __post_init__(self):
        if unknown := [name for name in self.metrics if name not in METRICS]:
            raise ValueError(f"Unknown metrics {unknown} (option metrics); known: {', '.join(METRICS)}")
        if not self.metrics:
            raise ValueError(f"metrics=[] must name at least one of {', '.join(METRICS)}")

    def inputs(self) -> dict:
        """What an evaluation records of its scoring."""
        clip = {"prefix": self.clip_score.prefix, "weight": self.clip_score.weight}
        options = {name: asdict(getattr(self, name)) for name in ("r_precision", "kernel")}
        return {"metrics": list(self.metrics), "clip_score": clip, **options, "seed": self.seed}

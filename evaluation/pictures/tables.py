"""The table of an evaluation of generated pictures."""

from __future__ import annotations

from evaluation.pictures.result import GenerationResult
from evaluation.table import Table

DISTANCES = ("FID", "KID", "Fréchet", "kernel")
_READ = {
    True: "which the generator reads, too",
    False: "which the generator does not read",
    None: "and nobody says which encoder the generator reads",
}


def picture_table(result: GenerationResult) -> Table:
    """One row per metric, then what was compared with what."""
    protocol = result.protocol
    rows = [{"metric": name, "value": _shown(name, value)} for name, value in result.metrics.items()]
    counts = {
        "pictures": protocol.pictures,
        "different sentences": protocol.sentences,
        "reference pictures": protocol.reference.pictures,
    }
    rows += [{"metric": name, "value": f"{count:,}"} for name, count in counts.items()]
    return Table(rows)


def notes(result: GenerationResult) -> list[str]:
    """What a reader of the table must know, one sentence each."""
    protocol = result.protocol
    side, reference = protocol.picture_size, protocol.reference
    real = reference.folder or f"the split {reference.split} of {reference.dataset}"
    lines = [f"Compared with {real}, all pictures as squares of {side} pixels. Shares and CLIPScore in percent."]
    if protocol.judge is not None:
        judge = protocol.judge
        lines.append(f"CLIPScore and R-precision by {judge.encoder['name']}, {_READ[judge.read_by_generator]}.")
    candidates = result.generation.get("candidates")
    if isinstance(candidates, int) and candidates > 1:
        lines.append(
            f"Each picture is the best of {candidates} by the encoder that the generator reads, which favors it "
            "wherever it judges, too."
        )
    reasons: dict[str, list[str]] = {}
    for name, reason in result.unavailable.items():
        reasons.setdefault(reason, []).append(name)
    lines += [f"{' and '.join(names)} could not run: {reason}" for reason, names in reasons.items()]
    return lines + result.warnings


def _shown(name: str, value: float | None) -> str | None:
    if value is None:
        return None
    if name.startswith(DISTANCES):
        return f"{value:#.4g}"
    return f"{value:.3f}" if name.startswith("diversity") else f"{value:.1f}"

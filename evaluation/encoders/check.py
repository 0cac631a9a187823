"""One check of an encoder, and the checks that loaded weights alone allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from open_clip.transformer import QuickGELU
from torch import nn
from torchvision.transforms import CenterCrop, Normalize, Resize

from embedding_space.encoders.base import Encoder
from embedding_space.encoders.fit import OPEN_CLIP_FITS, picture_fit
from evaluation.encoders.known import KnownWeights
from evaluation.encoders.pictures import find_picture
from evaluation.encoders.probe import Probe, logit_scale
from evaluation.table import Table

State = Literal["passed", "failed", "unclear", "not checked"]
WRONG_ACTIVATION = "OpenAI's weights need encoder.model=...-quickgelu"
WRONG_WEIGHTS = "the weights are damaged, or others than they are called: fetch them again, or correct encoder.model="


@dataclass(frozen=True)
class Check:
    """What was compared with what.

    Attributes:
        source: of the expected value, or of the measured rows.
        remark: why it was not checked, or by how much it failed.
        remedy: what to do where it failed.
    """

    name: str
    state: State
    measured: str = ""
    expected: str = ""
    source: str = ""
    remark: str = ""
    remedy: str = ""


def checks_table(checks: Sequence[Check]) -> str:
    """The checks as aligned text, with their sources and remarks below."""
    columns = ("state", "measured", "expected")
    rows = [{"check": check.name, **{name: asdict(check)[name] for name in columns}} for check in checks]
    notes = []
    for check in checks:
        parts = [check.source and f"from {check.source}", check.remark]
        if any(parts):
            notes.append(f"{check.name}: {'; '.join(part for part in parts if part)}")
    return "\n".join([Table(rows).text(), *(["", *notes] if notes else [])])


def judged(name: str, passed: bool, measured: str, expected: str, source: str, remedy: str) -> Check:
    """A check that passed, or failed and has a remedy."""
    if passed:
        return Check(name, "passed", measured, expected, source)
    return Check(name, "failed", measured, expected, source, remedy=remedy)


def compare(name: str, measured: Any, expected: Any, remedy: str) -> Check:
    """Passed where both are equal, not checked where one is None."""
    if measured is None or expected is None:
        return Check(name, "not checked", _shown(measured), _shown(expected))
    return judged(name, measured == expected, _shown(measured), _shown(expected), "", remedy)


def check_weights(encoder: Encoder, known: KnownWeights) -> Iterator[Check]:
    """Number of parameters, activation, logit scale and preprocessing of pictures: nothing is encoded."""
    model, digest = getattr(encoder, "model", None), encoder.description.get("sha256")
    if not isinstance(model, nn.Module):
        yield Check(
            "weights", "not checked", remark=f"the encoder {encoder.description['name']} is none of open_clip's"
        )
        return
    if digest is not None:
        # Weights saved anew have another file: their values are checked below.
        same = digest == known.sha256
        remark = "" if same else "the file is not the one that was published; what is in it is checked below"
        state: State = "passed" if same else "not checked"
        yield Check("SHA-256 of the file", state, digest[:12], _shown(known.sha256 and known.sha256[:12]), "", remark)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    yield compare("parameters", parameters, known.parameters, WRONG_WEIGHTS)
    expected = {True: "QuickGELU", False: "GELU", None: None}[known.quick_gelu]
    yield compare("activation", _activation(model), expected, WRONG_ACTIVATION)
    yield _logit_scale(encoder, known)
    remedy = "pictures would be preprocessed in another way than in training: correct the model's preprocess_cfg"
    measured = _preprocessing(encoder)
    for part in ("size", "mean", "std", "interpolation", "resize"):
        yield compare(f"preprocessing, {part}", measured[part], getattr(known, part), remedy)


def check_probes(
    encoder: Encoder, probes: Sequence[Probe], folder: Path | None, cache_dir: Path, download: bool
) -> Iterator[Check]:
    """Published values; a probe whose pictures are not there is not checked. Arguments as in `find_picture`."""
    for probe in probes:
        first = 0 if probe.pictures else 1  # a text has the cosine 1 to itself
        expected = _values(probe.values[0][first:])
        pictures = {name: find_picture(name, folder, cache_dir, download) for name in probe.pictures}
        missing = next((reason for reason in pictures.values() if isinstance(reason, str)), None)
        if missing is not None:
            yield Check(probe.name, "not checked", "", expected, probe.source, missing)
            continue
        measured = probe.measure(encoder, {name: path for name, path in pictures.items() if isinstance(path, Path)})
        verdict, difference = probe.verdict(measured), probe.difference(measured)
        off = f"{'logarithms' if probe.kind == 'probabilities' else 'values'} differ by up to {difference:.3g}"
        remark = {
            "passed": "",
            "unclear": f"{off}, and the source does not say how it got them",
            "failed": f"{off}, {probe.tolerance:g} passes",
        }[verdict]
        shown, remedy = _values(measured[0, first:].tolist()), WRONG_WEIGHTS if verdict == "failed" else ""
        yield Check(probe.name, verdict, shown, expected, probe.source, remark, remedy)


def in_range(name: str, value: float, expected: tuple[float, float] | None, source: str, remedy: str) -> Check:
    """Passed within the bounds; not checked where none are known."""
    if expected is None:
        return Check(name, "not checked", f"{value:.3f}", remark="no range was published for this encoder")
    least, most = expected
    return judged(name, least <= value <= most, f"{value:.3f}", f"{least:g} to {most:g}", source, remedy)


def _logit_scale(encoder: Encoder, known: KnownWeights) -> Check:
    try:
        scale = logit_scale(encoder)
    except ValueError as error:
        return Check("logit scale", "not checked", remark=str(error))
    if known.logit_scale is None:
        return Check("logit scale", "not checked", f"{scale:.2f}")
    passed = abs(scale - known.logit_scale) <= 0.01 * known.logit_scale
    return judged("logit scale", passed, f"{scale:.2f}", f"{known.logit_scale:.2f}", "", WRONG_WEIGHTS)


def _activation(model: nn.Module) -> str | None:
    """Of the blocks' perceptrons; a ResNet's own ReLU is none of them."""
    kinds = {QuickGELU: "QuickGELU", nn.GELU: "GELU"}
    names = {kinds[type(module)] for module in model.modules() if type(module) in kinds}
    return " and ".join(sorted(names)) or None


def _preprocessing(encoder: Encoder) -> dict[str, Any]:
    """How the encoder makes pictures its input, as far as torchvision's transforms say it."""
    known: dict[str, Any] = dict.fromkeys(("size", "mean", "std", "interpolation", "resize"))
    try:
        steps = getattr(encoder.preprocess, "transforms", [])
    except ValueError:  # it reads no pictures
        return known
    for step in steps:
        if isinstance(step, Resize):
            known["interpolation"] = step.interpolation.value
        if isinstance(step, Resize | CenterCrop):
            side = step.size if isinstance(step.size, int) else max(step.size)
            known["size"] = int(side)
        if isinstance(step, Normalize):
            known |= {"mean": tuple(map(float, step.mean)), "std": tuple(map(float, step.std))}
    fits = {fit: way for way, fit in OPEN_CLIP_FITS.items()}
    return known | {"resize": fits[picture_fit(encoder.description)]}


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(f"{part:.4f}" for part in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _values(values: Sequence[float], most: int = 3) -> str:
    """The first values, such as `0.993 0.00421 0.003 ...`."""
    shown = [f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}" for value in values[:most]]
    return " ".join([*shown, *["..."] * (len(values) > most)])

"""README.md of an exported captioner: what the Hugging Face Hub and its readers want to know.

https://huggingface.co/docs/hub/model-cards has the metadata's fields, the `model-index` among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from common.files import write_whole
from embedding_space.encoders.load import described_medium
from embedding_space.media import Medium
from evaluation.captions.result import EvaluationResult
from image_captioning.captioner import Captioner
from image_captioning.generation import Decoding
from image_captioning.method_class import SELECTED, method_class

LIBRARY = "diffusion-bridge"
FILE = "README.md"
MARK = "<!-- Written by scripts/export.py, which writes it again as long as this line is here. -->"
MIXIN = "model_hub_mixin"  # in the empty cards that huggingface_hub writes
TASKS: Mapping[Medium, str] = {
    "image": "image-to-text",
    "sound": "audio-text-to-text",
    "video": "video-text-to-text",
}
EXAMPLE_FILES: Mapping[Medium, str] = {"image": "photo.jpg", "sound": "sound.wav", "video": "video.mp4"}
PICTURES = "https://huggingface.co/datasets/mishig/sample_images/resolve/main"  # the Hub's own examples
WIDGET = [
    {"src": f"{PICTURES}/football-match.jpg", "example_title": "Football match"},
    {"src": f"{PICTURES}/savanna.jpg", "example_title": "Savanna"},
]
METRIC_TYPES = {"BLEU": "bleu", "ROUGE": "rouge"}  # the rest are called as here, in lower case
LEARNED_PAIRS = "pairs"  # how the class of a captioner begins that learned from pairs


@dataclass(frozen=True)
class CardOptions:
    """What a card says that no file knows: options `card.*` of `configs/export.yaml`."""

    license: str | None = None
    language: str | None = None
    datasets: Sequence[str] = ()
    repo: str | None = None


def read_card(folder: Path) -> str | None:
    """The card that somebody wrote in this folder; None where there is none, or one that a program wrote."""
    path = folder / FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return None if not text or MARK in text or MIXIN in text else text


def write_card(
    folder: Path,
    captioner: Captioner,
    manifest: Mapping[str, Any],
    scores: EvaluationResult | None,
    options: CardOptions,
    before: str | None,
) -> None:
    """Write README.md.

    Args:
        manifest: of the export.
        scores: of the exported captioner.
        before: what somebody wrote there (`read_card`): its text stays, under new metadata.
    """
    medium = described_medium(captioner.image_encoder_description)
    evidence = method_class(captioner.alignment, captioner.provenance, medium=medium)
    data = _metadata(folder.resolve().name, captioner, medium, evidence, scores, options)
    if before is None:
        text = _text(folder.resolve().name, captioner, medium, evidence, manifest, scores, options)
    else:
        text = REGEX_YAML_BLOCK.sub("", before, count=1).strip()
        print(f"{folder / FILE}: its text is kept, its metadata are new")
    write_whole(folder / FILE, f"---\n{data.to_yaml()}\n---\n\n{text}\n")


def _metadata(
    name: str,
    captioner: Captioner,
    medium: Medium,
    evidence: str,
    scores: EvaluationResult | None,
    options: CardOptions,
) -> ModelCardData:
    trained_on = captioner.provenance.get("dataset")
    datasets = list(options.datasets) or ([trained_on] if trained_on else None)
    results = [] if scores is None else _results(medium, scores)
    text_only = [] if _used_pairs(evidence) else ["zero-shot", "text-only-training"]
    return ModelCardData(
        license=options.license or "unknown",
        language=options.language,
        library_name=LIBRARY,
        pipeline_tag=TASKS[medium],
        tags=[f"{medium}-captioning", "modality-gap", *text_only],
        datasets=datasets,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=name,
        eval_results=results or None,
        widget=WIDGET if medium == "image" else None,
    )


def _results(medium: Medium, scores: EvaluationResult) -> list[EvalResult]:
    dataset = _dataset_of(scores)
    return [
        EvalResult(
            task_type=TASKS[medium],
            task_name=f"{medium.capitalize()} captioning",
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split=scores.split,
            metric_type=METRIC_TYPES.get(metric.partition("-")[0], metric.lower()),
            metric_name=metric,
            metric_value=round(value, 2),
        )
        for metric, value in scores.metrics.items()
        if value is not None
    ]


def _dataset_of(scores: EvaluationResult) -> str:
    return scores.evaluated_on.dataset if scores.evaluated_on else "unknown"


def _text(
    name: str,
    captioner: Captioner,
    medium: Medium,
    evidence: str,
    manifest: Mapping[str, Any],
    scores: EvaluationResult | None,
    options: CardOptions,
) -> str:
    learned = _learned_from(evidence)
    parts = [
        MARK,
        f"# {name}",
        f"A captioner of {medium}s that learned to write from {learned}, trained with Diffusion Bridge. It reads the "
        "embeddings of one encoder.",
        _usage(options.repo or name, medium),
        "## Training",
        _training(captioner, evidence, manifest),
    ]
    if scores is not None:
        parts += ["## Metrics", _metrics(medium, scores)]
    license_line = f"License: {options.license}." if options.license else "License: the exporter named none."
    parts += [
        "## Limits",
        f"It knows what its training captions say, and describes everything else as something of that. {license_line}",
    ]
    return "\n\n".join(parts)


def _used_pairs(evidence: str) -> bool:
    """Whether pairs taught the captioner, or chose among its weights."""
    return evidence.startswith(LEARNED_PAIRS) or evidence.endswith(SELECTED)


def _learned_from(evidence: str) -> str:
    if evidence.startswith(LEARNED_PAIRS):
        return "image-text pairs"
    return "text; image-text pairs chose among its weights" if _used_pairs(evidence) else "text, without a pair"


def _usage(name: str, medium: Medium) -> str:
    file = EXAMPLE_FILES[medium]
    return f"""## Use

In an environment with Diffusion Bridge (`pip install -e .` in a checkout):

```python
from embedding_space.encoders.load import reload_encoder
from image_captioning.captioner import Captioner

captioner = Captioner.from_pretrained("{name}")  # a Hub id or a folder
encoder = reload_encoder(captioner.image_encoder_description)
print(captioner.caption_images(encoder.encode_images(["{file}"])))
```

Or in a shell: `python scripts/caption.py {file} checkpoint={name}`"""


def _training(captioner: Captioner, evidence: str, manifest: Mapping[str, Any]) -> str:
    trained, encoder = captioner.provenance, captioner.encoder_description
    model = encoder.get("model") or encoder.get("kind")
    decoder = captioner.decoder.config.model_type
    weights = sum(weights.numel() for weights in captioner.parameters())
    facts = {
        "learned from": evidence,
        "method": trained.get("alignment"),
        "data set": trained.get("dataset"),
        "captions": f"{trained['captions']:,}" if "captions" in trained else None,
        "split": trained.get("train_split"),
        "trained on, chosen on": ", ".join(filter(None, (trained.get("train_on"), trained.get("validate_on")))) or None,
        "image mean": trained.get("image_mean_split") and f"of the images of split {trained['image_mean_split']}",
        "seed": trained.get("seed"),
        "encoder": f"{encoder.get('name')}" + (f" ({model})" if model else ""),
        "decoder": f"{decoder}, {weights:,} parameters with the mapper",
        "steps of the alignment": ", ".join(entry["step"] for entry in captioner.alignment.options()),
        "exported by": manifest.get("command") and f"`{manifest['command']}`",
        "commit, versions": f"{manifest.get('commit')}, {manifest.get('versions')}",
    }
    rows = [f"| {what} | {value} |" for what, value in facts.items() if value is not None]
    return "\n".join(["| | |", "|---|---|", *rows])


def _metrics(medium: Medium, scores: EvaluationResult) -> str:
    decoded = Decoding(**scores.decoding).label if scores.decoding else "unknown decoding"
    split = f"split {scores.split} of {_dataset_of(scores)}" if scores.split else _dataset_of(scores)
    lines = ["| metric | value |", "|---|---:|"]
    lines += [f"| {metric} | {value:.1f} |" for metric, value in scores.metrics.items() if value is not None]
    missing = [f"{metric} could not run ({reason})." for metric, reason in scores.unavailable.items()]
    return "\n".join(
        [f"{scores.images:,} {medium}s, {split}, {decoded}. CIDEr is pycocoevalcap's CIDEr-D.", "", *lines, *missing]
    )

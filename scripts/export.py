"""Copy a trained captioner into a folder to share: half-size weights, tokenizer, manifest. See configs/export.yaml.

python scripts/export.py checkpoint=outputs/image_captioning/demo_c3_seed0 to=pretrained/mine
"""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig

from embedding_space.encoders import file_sha256
from embedding_space.steps import TextMemory
from evaluation.facts import run_facts
from image_captioning.captioner import Captioner
from training.cli import command


def export(config: DictConfig) -> Path:
    """Export as `configs/export.yaml` says; returns the folder.

    The weights and a text memory become float16; other buffers (means, the diffusion's schedule) stay float32, for they
    are small and the schedule's ratios need it.

    Raises FileNotFoundError or ValueError when there is no captioner to load or no evaluation, and ValueError when
    the folder holds one already.
    """
    to = Path(config.to)
    if to.exists() and (to / "model.safetensors").exists() and not config.overwrite:
        raise ValueError(f"{to} holds a captioner already: give to= another folder, or overwrite=true")
    scores = _scores(Path(config.evaluation)) if config.evaluation else None
    captioner = Captioner.load(config.checkpoint).cpu()
    for parameter in captioner.parameters():
        parameter.data = parameter.data.half()
    for step in captioner.alignment.steps:
        if isinstance(step, TextMemory):
            step.memory = step.memory.half()
    captioner.save_pretrained(to)
    manifest = run_facts() | {
        "checkpoint": str(config.checkpoint),
        "encoder": captioner.encoder,
        "sha256": file_sha256(to / "model.safetensors"),
        "scores": scores,
    }
    (to / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    size = sum(file.stat().st_size for file in to.iterdir() if file.is_file())
    print(f"{to}: {sum(p.numel() for p in captioner.parameters()):,} parameters, {size / 1e6:.1f} MB")
    return to


def _scores(folder: Path) -> dict:
    """What an evaluation of the checkpoint measured. Raises FileNotFoundError when there is none."""
    if not (folder / "scores.json").exists():
        raise FileNotFoundError(f"No scores.json in evaluation={folder}: run python scripts/eval_coco.py first")
    return json.loads((folder / "scores.json").read_text())


main = command("export", export)

if __name__ == "__main__":
    main()

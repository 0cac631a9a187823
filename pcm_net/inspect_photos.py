"""Look into the mix-up of a trained PCM-Net on photos of one's own: what in them is like their concepts.

The work behind `scripts/inspect_mixup.py photos=...`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from common.files import write_json
from common.provenance import run_facts
from common.randomness import evenly_spaced
from embedding_space.encoders.fit import fitted_box
from embedding_space.encoders.load import reload_encoder
from embedding_space.pictures import open_picture
from evaluation.captions.patch_selection import PatchSelection
from evaluation.reports.plots import ORANGE, plain_text, save_plot
from image_captioning.caption_photos import encode_in_parts, find_files
from pcm_net.captioner import PCMNet

COLUMNS = 2  # photos side by side, each with its heat map


@dataclass(frozen=True)
class InspectedPhoto:
    """What the mix-up says about a photo.

    Attributes:
        path: of the file.
        selection: its selected patches and its concepts.
        heat: (P,) float32: each patch's cosine to that of the photo's concepts that it is most like.
    """

    path: Path
    selection: PatchSelection
    heat: Tensor


def inspect_photos(config: DictConfig) -> dict:
    """Run as `configs/inspect_mixup.yaml` says of `photos`; returns what `mixup.json` holds.

    Raises:
        FileNotFoundError: a file, a folder or the checkpoint is missing.
        ValueError: the checkpoint is no PCM-Net, or there is no photo that can be read.
    """
    named = list(config.photos)
    paths = [Path(path) for path in named]
    if missing := [str(path) for path in paths if not path.exists()]:
        raise FileNotFoundError(f"There is no file or folder {', '.join(missing)} (option photos)")
    files, _ = find_files(paths, "image")
    if not files:
        raise ValueError(f"photos={named} holds no picture: give files, or folders of them")
    captioner = PCMNet.load(config.checkpoint)
    photos = _inspect(captioner, files)
    if not photos:
        raise ValueError(f"photos={named}: none of the {len(files)} pictures can be read")
    results = {
        **run_facts(),
        "checkpoint": str(config.checkpoint),
        "encoder": captioner.image_encoder_description.get("name"),
        "mixup": vars(captioner.mixup.options),
        "photos": [_entry(photo) for photo in photos],
    }
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    write_json(output_dir / "mixup.json", results)
    shown = [photos[row] for row in evenly_spaced(len(photos), min(config.pictures, len(photos))).tolist()]
    if shown:
        save_plot(plot_photos(shown), output_dir, "mixup")
    for photo in photos:
        print(f"{photo.path}: {', '.join(photo.selection.words)}; {len(photo.selection.places)} patches are selected")
    print(f"Figure of {len(shown)} of {len(photos)} photos (pictures={config.pictures}), and numbers: {output_dir}")
    return results


def plot_photos(photos: Sequence[InspectedPhoto]) -> Figure:
    """Each photo with its first concepts, and its heat map with the selected patches in orange frames.

    The colors of a heat map go from the least to the greatest cosine of that photo, which its title has.
    """
    columns = min(COLUMNS, len(photos))
    rows = -(-len(photos) // columns)
    pictures = [open_picture(photo.path) for photo in photos]
    tallness = [picture.height / picture.width for picture in pictures]
    heights = [max(tallness[columns * row : columns * (row + 1)]) for row in range(rows)]  # of rows, in widths
    figure = Figure(figsize=(4.8 * columns, sum(2.3 * height + 0.3 for height in heights)), layout="constrained")
    axes = figure.subplots(rows, 2 * columns, squeeze=False, height_ratios=heights).ravel()
    for axis in axes:
        axis.axis("off")
    for number, (photo, picture) in enumerate(zip(photos, pictures, strict=True)):
        plain_axis, heat_axis = axes[2 * number : 2 * number + 2]
        selection = photo.selection
        plain_axis.imshow(picture, interpolation="lanczos")
        plain_axis.set_title(plain_text(selection.title), fontsize=9)
        heat_axis.imshow(picture.convert("L"), cmap="gray", interpolation="lanczos")
        left, top, width, height = fitted_box(selection.fit, picture.width, picture.height)
        extent = (left - 0.5, left + width - 0.5, top + height - 0.5, top - 0.5)  # the first pixel is around 0
        heat = photo.heat.numpy().reshape(selection.grid, selection.grid)
        heat_axis.imshow(heat, cmap="inferno", alpha=0.55, interpolation="nearest", extent=extent)
        for x, y, *sides in selection.boxes(picture.width, picture.height):
            heat_axis.add_patch(Rectangle((x - 0.5, y - 0.5), *sides, fill=False, edgecolor=ORANGE, linewidth=2))
        heat_axis.set(xlim=plain_axis.get_xlim(), ylim=plain_axis.get_ylim())
        heat_axis.set_title(f"cosines {photo.heat.min():.2f} to {photo.heat.max():.2f}", fontsize=9)
    return figure


def _inspect(captioner: PCMNet, files: list[Path]) -> list[InspectedPhoto]:
    """Those files that can be read; of the others it is said why not."""
    encoder, photos = reload_encoder(captioner.image_encoder_description), []
    for start, encoded in encode_in_parts(encoder, files, patches=True):
        for reason in encoded.reasons:
            print(f"Skipped: {reason}", file=sys.stderr)
        if not encoded.kept:
            continue
        patches = captioner.encoded_inputs(encoded).patches
        selections = captioner.named(captioner.mixup.select(encoded.rows, patches))
        heat = captioner.mixup.heat(encoded.rows, patches)
        paths = [files[start + place] for place in encoded.kept]
        photos += [InspectedPhoto(*of_photo) for of_photo in zip(paths, selections, heat, strict=True)]
    return photos


def _entry(photo: InspectedPhoto) -> dict:
    least, most = photo.heat.min().item(), photo.heat.max().item()
    selection = photo.selection
    return {
        "photo": photo.path.name,
        "concepts": list(selection.words),
        "grid": selection.grid,
        "selected": list(selection.places),
        "cosines": {"least": round(least, 4), "most": round(most, 4)},
    }

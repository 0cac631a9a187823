"""PCM-Net: training samples per second, and captions per second with three beams, on made-up features of pictures."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader

from alignment.chain import Alignment
from alignment.steps import GaussianNoise, Normalize
from common.config import compose_config, plain
from common.device import autocast, best_device
from embedding_space.patch_tokens import PatchTokens
from image_captioning.data import CaptionTokens
from image_captioning.generation import Decoding, generate
from image_captioning.tokenizer import end_token, make_tokenizer
from pcm_net.captioner import PCMNet
from pcm_net.inputs import PatchInputs
from pcm_net.loss import spread_over_others
from pcm_net.task import PairExamples, PairTask, on_device
from scripts.benchmarks.captioning import made_up_captions, measured_precisions
from scripts.benchmarks.diffusion import random_rows
from scripts.benchmarks.generation import written_lengths
from scripts.benchmarks.pcm_net_authors import WORDS, Archives, read, train, write
from scripts.benchmarks.timing import ClockedTask, StepClock, median_seconds, parameters, with_ratios
from training.loop import Loop, LoopConfig

BEAMS = 3


@dataclass(frozen=True)
class Pictures:
    """N made-up pictures, kept in both ways.

    Attributes:
        rows: (N, D) unit rows.
        patches, features: (N, P, D) and (N, P, W), each in one memory-mapped array.
        archives: a compressed file of the row and the features of each.
        head: what makes patches from features.
    """

    rows: Tensor
    patches: PatchTokens
    features: PatchTokens
    archives: list[Path]
    head: nn.Module


def benchmark_pcm_net(config: DictConfig, repeats: int) -> list[dict]:
    """Training, and captions by beam search, at equal batch and equal weights, each with ratios of its own.

    The last row of each works as the authors' code does (`pcm_net_authors`). Both sides train the same network on the
    same captions and pictures, with the same mix-up (batched in theirs, too), noise, dropout, weights and clipping.
    What differs in training:

    - Ours reads patches in the joint space from a memory-mapped array; theirs opens an archive for each picture, in
      workers of a DataLoader, and sends its patches through CLIP's head.
    - Ours has captions of like length in a batch; theirs pads all to the longest.
    - Ours takes the precision that is measured; theirs float32, and it writes the smoothed distributions out.

    And in writing captions, besides reading:

    - Ours keeps keys and values; theirs keeps hidden states, and makes keys and values anew for each word.
    - Ours encodes the words of the selected patches; theirs those of all patches, and hides the others.
    - Ours stops when the longest caption has ended (a made-up length, since random weights end none); theirs writes 20
      words of each. Ours is measured with 20 words, too.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        pictures = make_pictures(Path(folder), config)
        return [*training_rows(config, repeats, pictures), *captioning_rows(config, repeats, pictures)]


def training_rows(config: DictConfig, repeats: int, pictures: Pictures) -> list[dict]:
    """Samples, that is captions with their pictures, per second of training."""
    steps = config.warmup + config.steps * repeats
    ways: dict[str, str | None] = {
        f"training, arrays, batches of like length, {precision}": precision for precision in measured_precisions()
    }
    ways["training, an archive per picture, padded to the longest, fp32 (reference)"] = None
    table = []
    for name, precision in ways.items():
        model, clock = make_model(config), StepClock()
        if precision is None:
            _train_as_authors(model, pictures, config, steps, clock)
        else:
            _train(model, pictures, config, steps, precision, clock)
        rate = clock.rate([config.batch_size] * steps, config.warmup)
        table.append(_row(name, model, rate, None))
    return with_ratios(table, "per second")


def captioning_rows(config: DictConfig, repeats: int, pictures: Pictures) -> list[dict]:
    """Captions per second. "same captions" is the share that both sides write alike.

    Raises:
        ValueError: they write others in float32.
    """
    model = make_model(config).to(best_device()).eval()
    inputs, head = inputs_of(model, pictures, config.rows), pictures.head.to(model.device)
    loader = DataLoader(
        Archives(pictures.archives[: config.rows_single]), config.batch_size, num_workers=config.workers
    )

    def batched(words: int, precision: str) -> None:
        model.caption(inputs, _decoding(words), config.caption_batch_size, False, precision)

    def as_authors() -> Tensor:
        return torch.cat([write(model, read(model, head, *batch), WORDS, BEAMS) for batch in loader])

    precisions = measured_precisions()
    longest = int(written_lengths(config.rows).max()) + 1  # and its end
    limits = {"until the longest ends": longest, f"{WORDS} words each": WORDS}
    calls: dict[str, Callable[[], object]] = {
        f"captions, {BEAMS} beams, keys and values kept, {name}, {precision}": partial(batched, words, precision)
        for name, words in limits.items()
        for precision in precisions
    }
    calls[f"captions, {BEAMS} beams, keys and values anew for each word, {WORDS} words each, fp32 (reference)"] = (
        as_authors
    )
    seconds = median_seconds(calls, repeats)
    theirs = as_authors()
    same = [same_captions(model, inputs, theirs, precision) for precision in precisions]
    if same[-1] < 0.9:  # in fp32, where rounding may turn a near tie
        raise ValueError(f"Only {same[-1]:.0%} of the captions are the same on both sides: they do not do the same")
    counts = [*[len(inputs)] * (len(calls) - 1), len(theirs)]
    rates = [count / seconds[name] for name, count in zip(calls, counts, strict=True)]
    shares = [*same * len(limits), 1.0]
    rows = [_row(name, model, rate, share) for name, rate, share in zip(calls, rates, shares, strict=True)]
    return with_ratios(rows, "per second")


def _decoding(words: int) -> Decoding:
    return Decoding("beam", max_new_tokens=words, beams=BEAMS, length_penalty=0.0)  # ranks by the sum


def _row(name: str, model: PCMNet, rate: float, same: float | None) -> dict:
    return {"pcm_net": name, "million parameters": parameters(model), "per second": rate, "same captions": same}


def make_pictures(folder: Path, config: DictConfig) -> Pictures:
    """As many made-up pictures as captions, in `folder`."""
    generator = torch.Generator().manual_seed(0)
    shape = (config.captions, config.patches, config.patch_width)
    features, rows = torch.randn(shape, generator=generator).half(), random_rows(config.captions, config.dim)
    torch.manual_seed(0)
    head = nn.Sequential(nn.LayerNorm(config.patch_width), nn.Linear(config.patch_width, config.dim, bias=False))
    head.requires_grad_(False)
    grids = {"patches": F.normalize(head(features.float()), dim=-1).half(), "features": features}
    for name, grid in grids.items():
        np.save(folder / f"{name}.npy", grid.numpy())
    on_disk = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in grids}
    archives = [folder / f"{number}.npz" for number in range(config.captions)]
    for archive, picture, row in zip(archives, features, rows, strict=True):
        np.savez_compressed(archive, features=picture.float().numpy(), g_feature=row[None].numpy())
    numbers = np.arange(config.captions)
    patches, kept = (PatchTokens(array, numbers) for array in on_disk.values())
    return Pictures(rows, patches, kept, archives, head)


def make_model(config: DictConfig) -> PCMNet:
    """A PCM-Net with random weights, the same at every call: that of `python -m pcm_net.train` with `overrides`."""
    options = compose_config("pcm_net", *config.overrides)
    decoder = plain(options.decoder)
    tokenizer = make_tokenizer(decoder["tokenizer"], [f"w{word}" for word in range(config.words)])
    torch.manual_seed(0)
    model = PCMNet(
        dim=config.dim,
        patch_width=config.patch_width,
        patches=config.patches,
        concepts=[f"concept {number}" for number in range(config.concepts)],
        mixup=plain(options.mixup),
        network=plain(options.network),
        decoder={
            "kind": decoder["kind"],
            **decoder["config"],
            "vocabulary": len(tokenizer),
            "end": end_token(tokenizer),
        },
        alignment=Alignment([Normalize(), GaussianNoise(options.alignment.noise_std), Normalize()]).options(),
        encoder={"name": "none"},
    )
    model.tokenizer = tokenizer
    model.mixup.concepts.copy_(random_rows(config.concepts, config.dim))
    return model


def tokens_of(model: PCMNet, config: DictConfig) -> CaptionTokens:
    """The tokens of made-up captions, long ones cut."""
    longest = compose_config("pcm_net", *config.overrides).decoder.max_tokens
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*captions were cut.*")
        return CaptionTokens.encode(made_up_captions(config.captions), model.tokenizer, longest, truncate=True)


def _train(model: PCMNet, pictures: Pictures, config: DictConfig, steps: int, precision: str, clock: StepClock) -> None:
    """As `python -m pcm_net.train` with the loop's options there, but for the number of steps and the batch."""
    options = compose_config("pcm_net", *config.overrides)
    loop = plain(options.loop) | {"steps": steps, "batch_size": config.batch_size, "precision": precision}
    loop |= {"evaluate_every": None, "checkpoint_every": None, "keep": "last"}
    smoothing = spread_over_others(options.label_smoothing, model.language_model.config.vocab_size)
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        ours = Loop(LoopConfig(**loop), folder)
        tokens = tokens_of(model, config).to(ours.device)
        patches, features = (on_device(grid, ours.device) for grid in (pictures.patches, pictures.features))
        numbers = torch.arange(len(tokens), device=ours.device)
        examples = PairExamples(tokens, pictures.rows.half().to(ours.device), patches, features, numbers)
        task = PairTask(
            model, examples, {}, (), config.batch_size, 0, smoothing, caption_weights=torch.ones_like(numbers).float()
        )
        ours.fit(model, ClockedTask(task, clock))


def _train_as_authors(model: PCMNet, pictures: Pictures, config: DictConfig, steps: int, clock: StepClock) -> None:
    """As the authors train, with as many workers as `config` says."""
    options, tokens = compose_config("pcm_net", *config.overrides), tokens_of(model, config)
    padded, mask = tokens.batch(torch.arange(len(tokens)))
    data = Archives(pictures.archives, padded, mask, torch.ones(len(tokens)))
    loader = DataLoader(data, config.batch_size, shuffle=True, drop_last=True, num_workers=config.workers)
    model.to(best_device())
    train(model, pictures.head.to(model.device), loader, steps, options.label_smoothing, options.loop.clip_value, clock)


def inputs_of(model: PCMNet, pictures: Pictures, count: int) -> PatchInputs:
    """The first `count` pictures as the model reads them; patches are left on disk."""
    rows = pictures.rows[:count]
    numbers = torch.arange(len(rows))
    return PatchInputs(model.align_images(rows), rows, pictures.patches.take(numbers), pictures.features.take(numbers))


@torch.no_grad()
def same_captions(model: PCMNet, inputs: PatchInputs, theirs: Tensor, precision: str) -> float:
    """Share of the first images for which we write the tokens `theirs` (N, T)."""
    with autocast(model.device, precision):
        context = model.context(inputs[: len(theirs)].to(model.device))
        limits = (_decoding(theirs.shape[1]), end_token(model.tokenizer), model.banned_tokens())
        ours = generate(model.language_model, context.prefix, *limits, encoded=context.encoded)
    return (ours == theirs).all(dim=1).float().mean().item() if ours.shape == theirs.shape else 0.0

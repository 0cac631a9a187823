"""The best of several candidates: chosen as by hand, whatever the batches, and resumed exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from alignment.chain import Alignment
from image_captioning.alignments import STEPS
from image_generation import draw_split as drawing
from image_generation import eval_generation as evaluation
from image_generation import sources
from image_generation.candidates import BestOf, cosines_to_rows
from image_generation.draw_split import Prompts, draw_split
from image_generation.flow import Sampling
from image_generation.generate import generate
from image_generation.generator import ImageGenerator

NETWORK = {"channels": [16, 32], "attention": [False, False], "layers": 1, "head_channels": 16, "patch": 2}
COLLAPSE = [{"step": name} for name in ("Normalize", "Center", "Normalize")]
SAMPLING = Sampling(steps=1, batch_size=8)


@pytest.fixture
def pixel_encoder(word_encoder):
    """An encoder like the store's, whose image rows are a random map of the pixels."""

    class PixelEncoder(word_encoder):
        preprocess = staticmethod(lambda picture: torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255)  # pyright: ignore

        def image_features(self, pictures: Tensor) -> Tensor:
            width = pictures[0].numel()
            weights = torch.randn(width, self.dim, generator=torch.Generator().manual_seed(1))
            return (pictures - 0.5).flatten(1) @ weights / width**0.5

    return PixelEncoder(16)


@pytest.fixture
def generator(picture_store, pixel_encoder, tmp_path, monkeypatch) -> ImageGenerator:
    torch.manual_seed(0)
    chain = Alignment.from_store(COLLAPSE, STEPS, type(picture_store)(picture_store.path, training_modality="images"))
    described = picture_store.manifest.encoder
    model = ImageGenerator(16, 16, NETWORK, chain.options(), described, provenance={"uses_pairs": False})
    model.alignment = chain
    for weights in model.parameters():  # an output that is not zero, so that pictures differ by more than their noise
        weights.data += 0.05 * torch.randn_like(weights)
    model.save_pretrained(tmp_path / "generator")
    for module in (drawing, sources):
        monkeypatch.setattr(module, "reload_encoder", lambda description, **options: pixel_encoder)
    return ImageGenerator.load(tmp_path / "generator")


def by_hand(generator: ImageGenerator, encoder, row: Tensor, seed: int, candidates: int) -> tuple[np.ndarray, int]:
    """The picture of one row: its candidates are drawn and compared one by one."""
    best: tuple[float, np.ndarray, int] = (-2.0, np.empty(0), 0)
    for noise_seed in BestOf(candidates).seeds(seed):
        pixels = generator.generate(row[None], [noise_seed], SAMPLING)[0].numpy()
        embedding = F.normalize(encoder.image_features(encoder.preprocess(pixels)[None]), dim=-1)
        cosine = (generator.alignment.clean_side(embedding) @ row).item()
        if cosine > best[0]:
            best = (cosine, pixels, noise_seed)
    return best[1], best[2]


def test_the_candidates_of_pictures_are_different_and_more_of_them_begin_with_the_same():
    assert BestOf().seeds(7) == [7] and BestOf(3).seeds(7) == BestOf(5).seeds(7)[:3]
    assert len({seed for first in range(50) for seed in BestOf(8).seeds(first)}) == 400
    with pytest.raises(ValueError, match="candidates=0 must"):
        BestOf(0)


def test_one_candidate_is_drawn_as_before_and_nothing_is_compared():
    picture = Image.new("RGB", (4, 4))
    kept = BestOf().draw(lambda rows, seeds: [picture] * len(rows), None, torch.ones(3, 2), [4, 5, 6], 2)  # pyright: ignore
    assert kept.pictures == [picture] * 3 and kept.noise_seeds == [4, 5, 6]
    assert BestOf().facts() == {} and BestOf().picture_facts(4) == {}


@pytest.mark.parametrize("batch_size", [1, 4, 7, 64])
def test_the_highest_fit_of_each_row_is_kept_whatever_the_batches(batch_size):
    asked = []

    def draw(rows, seeds):
        asked.append(len(rows))
        return [Image.new("RGB", (1, 1), (seed % 251, int(row[0]), 0)) for row, seed in zip(rows, seeds, strict=True)]

    def fit(pictures, rows):
        colors = [picture.getpixel((0, 0)) for picture in pictures]
        assert [color[1] for color in colors] == rows[:, 0].int().tolist()
        return torch.tensor([float(color[0]) for color in colors])

    kept = BestOf(4).draw(draw, fit, torch.arange(10.0)[:, None], range(20, 30), batch_size)
    for number, (picture, noise_seed) in enumerate(zip(*kept, strict=True)):
        seeds = BestOf(4).seeds(20 + number)
        assert noise_seed == max(seeds, key=lambda seed: seed % 251)
        assert picture.getpixel((0, 0)) == (noise_seed % 251, number, 0)
    assert sum(asked) == 40 and max(asked) == 4 * max(1, min(10, batch_size // 4))


def test_of_equal_candidates_the_first_is_kept():
    def draw(rows, seeds):
        return [Image.new("RGB", (1, 1))] * len(rows)

    kept = BestOf(5).draw(draw, lambda pictures, rows: torch.ones(len(rows)), torch.ones(3, 2), [1, 2, 3], 64)
    assert kept.noise_seeds == [1, 2, 3]


def test_pictures_are_encoded_in_batches_and_compared_behind_the_alignment(generator, pixel_encoder):
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(256, size=(16, 16, 3), dtype=np.uint8)) for _ in range(5)]
    rows = F.normalize(torch.randn(5, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    pixel_encoder.batch_size = 2
    embeddings = pixel_encoder.image_features(torch.stack([pixel_encoder.preprocess(each) for each in pictures]))
    expected = (generator.alignment.clean_side(F.normalize(embeddings, dim=-1)) * rows).sum(dim=1)
    torch.testing.assert_close(cosines_to_rows(generator, pixel_encoder, pictures, rows), expected)


def test_a_split_is_drawn_as_by_hand_and_an_interrupted_drawing_goes_on(
    generator, picture_store, pixel_encoder, tmp_path
):
    folder, prompts = tmp_path / "pictures", Prompts("val", 7, 5)
    draw_split(generator, picture_store, prompts, SAMPLING, folder, best_of=BestOf(3))
    index = json.loads((folder / "images.json").read_text())
    assert index["candidates"] == 3 and index["candidates_chosen_by"] == "words"
    aligned = generator.align(picture_store.texts("val")[torch.from_numpy(prompts.chosen(picture_store))])
    chosen_first = 0
    for number in range(7):
        pixels, noise_seed = by_hand(generator, pixel_encoder, aligned[number], 5 + number, 3)
        with Image.open(folder / f"{number:06d}.png") as picture:
            assert (picture.text["candidates"], picture.text["noise_seed"]) == ("3", str(noise_seed))
            assert abs(np.asarray(picture).astype(int) - pixels).max() <= 1
        chosen_first += noise_seed == 5 + number
    assert chosen_first < 7

    before = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    for name in ("images.json", "000001.png", "000005.png"):
        (folder / name).unlink()
    draw_split(generator, picture_store, prompts, Sampling(steps=1, batch_size=3), folder, best_of=BestOf(3))
    for name, content in before.items():
        with Image.open(folder / name) as again:
            assert again.text["noise_seed"].encode() in content
    for candidates in (1, 4):
        with pytest.raises(ValueError, match="holds pictures of another number of candidates: choose another output"):
            draw_split(generator, picture_store, prompts, SAMPLING, folder, best_of=BestOf(candidates))


def test_the_evaluation_says_that_the_generators_encoder_chose(
    generator, picture_store, pixel_encoder, compose, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(evaluation, "load_encoder", lambda **options: pixel_encoder)
    options = [
        f"checkpoint={tmp_path / 'generator'}", f"store={picture_store.path}", "sampling.steps=1", "detector=null",
        f"dataset.root={picture_store.path.parent}", "prompts.count=4", f"output_dir={tmp_path / 'out'}",
        "metrics=[CLIPScore]",
    ]  # fmt: skip
    for value in ("0", "-1", "many"):
        with pytest.raises(ValueError, match=rf"candidates='?{value}'? must be a whole number, at least 1"):
            evaluation.evaluate(compose("eval_generation", *options, f"candidates={value}"))
    result = evaluation.evaluate(compose("eval_generation", *options, "candidates=2"))
    assert result.generation["candidates"] == 2 and result.protocol.judge.read_by_generator
    assert "Each picture is the best of 2 by the encoder that the generator reads" in capsys.readouterr().out
    with pytest.raises(ValueError, match="candidates changes how a checkpoint draws, and there is none"):
        evaluation.evaluate(compose("eval_generation", "pictures=somewhere", "candidates=2"))


def test_the_command_keeps_the_best_and_says_which_noise_it_came_from(
    generator, pixel_encoder, compose, tmp_path, capsys
):
    def drawn(name: str, *options: str):
        paths = (f"checkpoint=[{tmp_path / 'generator'}]", f"output_dir={tmp_path / name}", "sampling.steps=1")
        return generate(compose("generate_images", *paths, *options), sentences)

    sentences = ["a dog on a lake", "a cat"]
    best = drawn("best", "candidates=4", "pictures=2", "seed=3", "sampling.batch_size=3")
    assert json.loads((tmp_path / "best/images.json").read_text())["candidates"] == 4
    rows = generator.align(pixel_encoder.encode_texts(sentences))
    for each, row in zip(best, rows.repeat_interleave(2, dim=0), strict=True):
        assert each.noise_seed == by_hand(generator, pixel_encoder, row, each.seed, 4)[1] and each.candidates == 4
        with Image.open(tmp_path / "best" / each.file) as picture:
            assert picture.text["seed"] == str(each.seed) and picture.text["noise_seed"] == str(each.noise_seed)
            assert picture.text["candidates"] == "4"
            pixels = np.asarray(picture, int)
        alone = drawn("alone", f"seed={each.noise_seed}", "candidates=1")[sentences.index(each.sentence)]
        assert abs(np.asarray(Image.open(tmp_path / "alone" / alone.file), int) - pixels).max() <= 1
        assert abs(alone.cosine - each.cosine) < 0.01
    plain = drawn("plain", "pictures=2", "seed=3", "candidates=1")
    assert all(each.cosine >= other.cosine - 1e-3 for each, other in zip(best, plain, strict=True))
    with Image.open(tmp_path / "plain/000.png") as picture:
        assert set(picture.text) == {"sentence", "generator", "seed"}
    for value in ("0", "-1", "many", "2.5"):
        with pytest.raises(ValueError, match=rf"candidates='?{value}'? must be a whole number, at least 1"):
            drawn("bad", f"candidates={value}")
    assert not (tmp_path / "bad").exists()

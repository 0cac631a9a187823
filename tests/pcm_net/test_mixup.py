"""The mix-up against a plain loop over images, patches and concepts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pcm_net.mixup import MixupOptions, PatchMixup


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def mixup(**options) -> PatchMixup:
    made = PatchMixup(12, 8, MixupOptions(**options))
    made.concepts.copy_(unit(12, 8))
    return made


def by_loops(concepts, image, patches, options):
    """Equations 1 to 3 for one image, as the paper writes them."""
    order = sorted(range(len(concepts)), key=lambda c: -float(image @ concepts[c]))[: options.concepts]
    pairs, words = [], []
    for place, patch in enumerate(patches):
        similarities = [float(patch @ concepts[c]) for c in order]
        exponents = [2.718281828459045 ** ((s - max(similarities)) / options.temperature) for s in similarities]
        words.append(sum(e / sum(exponents) * concepts[c] for e, c in zip(exponents, order, strict=True)))
        pairs += [(similarity, place) for similarity in similarities]
    chosen = {place for _, place in sorted(pairs, reverse=True)[: options.pairs]}
    return order, torch.stack(words), [place in chosen for place in range(len(patches))]


@pytest.mark.parametrize("options", [{}, {"concepts": 3, "pairs": 9}, {"concepts": 1, "pairs": 1, "temperature": 0.1}])
def test_a_batch_is_mixed_up_as_by_loops(options):
    made, images, patches = mixup(**options), unit(5, 8, seed=1), unit(5, 9, 8, seed=2)
    mixed = made(images, patches)
    for row in range(5):
        salient, words, selected = by_loops(made.concepts, images[row], patches[row], made.options)
        assert mixed.salient[row].tolist() == salient
        assert mixed.selected[row].tolist() == selected
        torch.testing.assert_close(mixed.text_map[row], words, atol=1e-5, rtol=1e-4)


def test_pairs_are_counted_and_not_patches():
    mixed = mixup(concepts=5, pairs=5)(unit(50, 8, seed=1), unit(50, 9, 8, seed=2))
    counts = mixed.selected.sum(dim=1)
    assert counts.min() >= 1 and counts.max() <= 5 and counts.float().mean() < 5


def test_no_pairs_select_nothing_and_more_than_there_are_select_all():
    images, patches = unit(3, 8), unit(3, 4, 8)
    assert not mixup(pairs=0)(images, patches).selected.any()
    assert mixup(pairs=100)(images, patches).selected.all()


def test_lengths_of_rows_and_half_precision_change_nothing():
    made, images, patches = mixup(), unit(4, 8, seed=1), unit(4, 9, 8, seed=2)
    one, other = made(images, patches), made(3 * images, 0.5 * patches)
    torch.testing.assert_close(one.text_map, other.text_map)
    with torch.autocast("cpu", torch.bfloat16):
        again = made(images, patches)
    assert again.text_map.dtype == torch.float32 and torch.equal(again.selected, one.selected)


def test_more_concepts_than_the_vocabulary_has_are_refused():
    with pytest.raises(ValueError, match=r"mixup\.concepts=5 is more than the vocabulary's 3 concepts"):
        PatchMixup(3, 8, MixupOptions())
    with pytest.raises(ValueError, match=r"mixup\.temperature"):
        MixupOptions(temperature=0.0)


def test_the_heat_is_the_greatest_cosine_to_the_images_concepts():
    mixup = PatchMixup(7, 5, MixupOptions(concepts=3))
    torch.manual_seed(0)
    mixup.concepts.copy_(F.normalize(torch.randn(7, 5), dim=-1))
    images, patches = torch.randn(2, 5), 3 * torch.randn(2, 4, 5)
    heat, salient = mixup.heat(images, patches), mixup(images, patches).salient
    for image in range(2):
        for patch in range(4):
            cosines = [F.cosine_similarity(patches[image, patch], mixup.concepts[c], dim=0) for c in salient[image]]
            assert torch.isclose(heat[image, patch], max(cosines))

"""The demo's painter: faithful at level 0, and every fault at the rate that is asked for and in the table."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("resvg_py")

from demo_world.lexicon import NOUN
from demo_world.parse import parse_caption
from demo_world.world import scene_and_captions
from synthetic_images.defects import BLURRED, COLOR, COUNT, DISTORTED, EXTRA, KINDS, MISSING, PLACE
from synthetic_images.demo_faults import blur, spoil_plan, warping
from synthetic_images.demo_painter import DemoPainter
from synthetic_images.demo_plan import make_plan

NONE = dict.fromkeys(KINDS, 0.0)


@pytest.fixture(scope="module")
def captions():
    return [caption for index in range(250) for caption in scene_and_captions(4, "train", index)[1]]


def spoiled(captions, chances):
    """(what is said, the plan, the spoiled plan, faults) of each caption."""
    for seed, caption in enumerate(captions):
        said = parse_caption(caption)
        clean, plan = (make_plan(said, np.random.default_rng(seed)) for _ in range(2))
        yield said, clean, plan, spoil_plan(plan, said, chances, np.random.default_rng([seed, 1]))


def only(kind, **others):
    return DemoPainter(**{**NONE, kind: 1.0, "unfaithfulness": 1.0, **others})


def test_a_faithful_picture_has_no_defects_and_depends_on_the_seed_alone():
    painter, caption = DemoPainter(unfaithfulness=0.0), "two red cars on a city street at night"
    one, same, other = (painter.draw([caption], [seed])[0] for seed in (5, 5, 6))
    assert one.defects == () and one.picture.size == (96, 96) and one.picture.mode == "RGB"
    assert one.picture.tobytes() == same.picture.tobytes() != other.picture.tobytes()
    together = painter.draw(["a dog", caption], [9, 5])[1]
    assert together.picture.tobytes() == one.picture.tobytes()
    assert pickle.loads(pickle.dumps(painter)).options() == painter.options()  # it is sent to other processes
    assert DemoPainter(unfaithfulness=0.0, image_size=48).draw([caption], [5])[0].picture.size == (48, 48)


def test_faults_are_as_likely_as_asked_for(captions):
    for chance in (0.0, 0.3, 1.0):
        counts, possible = Counter(), Counter()
        for said, _, _, faults in spoiled(captions, dict.fromkeys(KINDS, chance)):
            counts.update(fault.kind for fault in faults)
            groups = len(said.mentions)
            possible[MISSING] += groups - (groups == 1 or chance == 1)
            missing = sum(fault.kind == MISSING for fault in faults)
            possible[EXTRA] += 1
            possible[PLACE] += said.place is not None
            if not missing:
                possible[COUNT] += sum(len({*range(1, NOUN[m.noun].most + 1)} - {*m.counts}) > 0 for m in said.mentions)
                counts["count where none is missing"] += sum(fault.kind == COUNT for fault in faults)
        assert counts[MISSING] / possible[MISSING] == pytest.approx(chance, abs=0.06)
        assert counts[PLACE] / possible[PLACE] == pytest.approx(chance, abs=0.05)
        assert 0.8 * chance - 0.05 <= counts[EXTRA] / possible[EXTRA] <= chance + 0.05  # not where there is no room
        assert counts["count where none is missing"] / max(possible[COUNT], 1) == pytest.approx(
            chance if possible[COUNT] else 0, abs=0.06
        )


def test_faults_say_what_was_intended_and_what_was_painted(captions):
    seen = Counter()
    for said, clean, plan, faults in spoiled(captions, dict.fromkeys(KINDS, 0.5)):
        assert sum(fault.kind == MISSING for fault in faults) < len(said.mentions)
        for fault in faults:
            seen[fault.kind] += 1
            intended = clean.items[fault.item] if fault.item is not None and fault.item < len(clean.items) else None
            now = plan.items[fault.item] if fault.item is not None else None
            if fault.kind == COUNT:
                assert (fault.intended, fault.painted) == (str(intended.count), str(now.count))
                assert now.count not in said.mentions[fault.item].counts and now.count <= now.noun.most
            elif fault.kind == COLOR:
                assert (fault.intended, fault.painted) == (said.mentions[fault.item].color, now.color)
                assert now.color in now.noun.colors and now.color != fault.intended
            elif fault.kind == PLACE:
                assert (fault.intended, fault.painted) == (said.place, plan.place) and plan.place != said.place
            elif fault.kind == EXTRA:
                assert intended is None and now.noun.name not in {mention.noun for mention in said.mentions}
                assert sum(item.noun.zone == "sky" for item in plan.items) <= 1
    assert set(seen) == {MISSING, EXTRA, COUNT, COLOR, PLACE}


def test_most_faults_of_a_level_are_faults_of_a_higher_one(captions):
    low, high = (
        [
            {(fault.kind, fault.item) for fault in faults if fault.kind != EXTRA}
            for *_, faults in spoiled(captions, level)
        ]
        for level in (dict.fromkeys(KINDS, 0.2), dict.fromkeys(KINDS, 0.4))
    )
    kept = sum(len(few & many) for few, many in zip(low, high, strict=True)) / sum(map(len, low))
    assert kept > 0.85 and sum(map(len, high)) > 1.5 * sum(map(len, low))


def difference(one, other):
    """Where two pictures differ, (H, W) bool."""
    return (np.asarray(one).astype(int) != np.asarray(other)).any(axis=-1)


@pytest.mark.parametrize("kind", [MISSING, DISTORTED, BLURRED, COLOR])
def test_what_differs_is_inside_the_boxes(kind):
    caption = "a big red car and a yellow taxi on a city street"
    faithful = DemoPainter(**NONE).draw([caption], [3])[0]
    wrong = only(kind).draw([caption], [3])[0]
    assert {defect.kind for defect in wrong.defects} == {kind}
    inside = np.zeros((96, 96), bool)
    for defect in wrong.defects:
        x0, y0, x1, y1 = (round(96 * edge) for edge in (defect.x0, defect.y0, defect.x1, defect.y1))
        inside[max(y0 - 2, 0) : y1 + 3, max(x0 - 2, 0) : x1 + 3] = True
    changed = difference(faithful.picture, wrong.picture)
    assert changed.sum() > 30 and not (changed & ~inside).any()


def test_defects_of_count_place_and_extra_objects():
    caption, seeds = "three dogs in a meadow", range(4)
    for drawn in only(COUNT).draw([caption] * 4, seeds):
        [defect] = drawn.defects
        assert (defect.kind, defect.noun, defect.intended) == (COUNT, "dog", "3") and defect.painted in "124"
    for drawn in only(PLACE).draw([caption] * 4, seeds):
        [defect] = drawn.defects
        assert (defect.noun, defect.intended) == ("", "meadow") and defect.painted != "meadow"
        assert (defect.x0, defect.y0, defect.x1, defect.y1) == (0, 0, 1, 1)
    extras = [defect for drawn in only(EXTRA).draw([caption] * 4, seeds) for defect in drawn.defects]
    assert extras and all(defect.kind == EXTRA and defect.noun != "dog" for defect in extras)


def test_blemished_sprites_keep_their_size():
    square = np.zeros((24, 30, 4), np.uint8)
    square[6:18, 8:22] = (200, 40, 30, 255)
    sprite = Image.fromarray(square)
    for alter in (blur, warping(np.random.default_rng(0))):
        altered = alter(sprite)
        assert altered.size == sprite.size and altered.mode == "RGBA" and altered.tobytes() != sprite.tobytes()
        opaque = np.asarray(altered)[np.asarray(altered)[..., 3] > 100][:, :3]
        assert np.abs(opaque.astype(int) - (200, 40, 30)).max() <= 8  # no dark rims


def test_what_it_cannot_read_and_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="'a man on a bench' is no caption that the demo world writes"):
        DemoPainter().draw(["a man on a bench"], [0])
    with pytest.raises(ValueError, match=r"painter\.unfaithfulness=1\.5 must be less than or equal to 1"):
        DemoPainter(unfaithfulness=1.5)
    with pytest.raises(ValueError, match=r"painter\.wrong_count=-0\.1 must"):
        replace(DemoPainter(), wrong_count=-0.1)

"""Which image a prediction is of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.captions.naming import named_as, names_of

COCO = [names_of(str(n), f"COCO_val2014_{n:012}.jpg") for n in (1, 2, 3)]


@pytest.mark.parametrize(
    "call",
    [
        lambda n: f"photos/val2014/COCO_val2014_{n:012}.jpg",
        lambda n: f"/data/COCO_val2014_{n:012}.jpg",
        lambda n: f"photos\\COCO_val2014_{n:012}.jpg",
        lambda n: f"./COCO_val2014_{n:012}.jpg",
        lambda n: f"COCO_val2014_{n:012}",
        lambda n: f"resized/COCO_val2014_{n:012}.png",
        lambda n: str(n),
    ],
)
def test_paths_file_names_and_ids_find_their_image(call):
    first, second, third = named_as(COCO, [call(3), call(1)])
    assert (first, third) == (call(1), call(3))
    assert second in ("2", COCO[1].path[0], COCO[1].path[0].removesuffix(".jpg"))  # its own name in that way


def test_folders_distinguish_files_of_one_name():
    images = [names_of(path, path) for path in ("train/1.jpg", "val/1.jpg")]
    assert named_as(images, ["/data/val/1.jpg", "/data/train/1.jpg"]) == ["/data/train/1.jpg", "/data/val/1.jpg"]
    with pytest.raises(ValueError, match=r"'a/train/1.jpg' and 'b/train/1.jpg' are both its image 'train/1.jpg'"):
        named_as(images, ["a/train/1.jpg", "b/train/1.jpg"])
    with pytest.raises(ValueError, match=r"'train/1.jpg' and 'val/1.jpg' are both called '1.jpg'"):
        named_as(images, ["photos/1.jpg"])


@given(st.lists(st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3}){0,2}\.(jpg|png)", fullmatch=True), min_size=1, unique=True))
def test_an_images_own_name_is_always_its_own(names):
    images = [names_of(str(n), name) for n, name in enumerate(names)]
    assert named_as(images, names) == names
    assert named_as(images, []) == named_as(images, ["nowhere"]) == [str(n) for n in range(len(names))]

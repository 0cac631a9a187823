"""pretrained/videos says what moves in the demo world's videos; a folder's other files are left out by name."""

from __future__ import annotations

from PIL import Image

from common.config import compose_config
from demo_world.motion.parse import motion_of
from demo_world.motion.render import render_frames
from demo_world.motion.video import write_video
from demo_world.motion.world import scene_and_captions
from image_captioning.caption_photos import caption

COUNT = 12


def test_it_says_how_things_move_and_leaves_pictures_out(tmp_path, capsys):
    kinds, places = [], []
    for number in range(COUNT):
        scene, _ = scene_and_captions(0, "test", number)
        write_video(render_frames(scene), tmp_path / f"{number:02d}.mp4")
        kinds.append(scene.motion.kind)
        places.append(scene.mover.noun)
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    captions = caption(compose_config("caption", "checkpoint=videos", f"output_dir={tmp_path / 'out'}"), [tmp_path])
    assert len(captions) == COUNT and "Left out: 1 picture (photo.png)" in capsys.readouterr().err
    said = [motion_of(captions[path]).kind for path in sorted(captions)]
    right = sum(one == other for one, other in zip(kinds, said, strict=True))
    named = sum(name in captions[path] for name, path in zip(places, sorted(captions), strict=True))
    assert right >= COUNT // 2 and named >= COUNT // 3, (right, named)

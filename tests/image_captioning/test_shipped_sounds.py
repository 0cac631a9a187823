"""pretrained/sounds names what is heard in the demo world's sounds; a folder's other files are left out by name."""

from __future__ import annotations

from PIL import Image

from common.config import compose_config
from demo_world.sounds.audio import write_flac
from demo_world.sounds.parse import sounds_of
from demo_world.sounds.render import render_sound
from demo_world.sounds.world import scene_and_captions
from image_captioning.caption_photos import caption

COUNT = 12


def test_it_names_what_is_heard_and_leaves_pictures_out(tmp_path, capsys):
    heard = []
    for number in range(COUNT):
        scene, _ = scene_and_captions(0, "test", number)
        write_flac(render_sound(scene), tmp_path / f"{number:02d}.flac")
        heard.append({part.source for part in scene.all_parts})
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    captions = caption(compose_config("caption", "checkpoint=sounds", f"output_dir={tmp_path / 'out'}"), [tmp_path])
    assert len(captions) == COUNT and "Left out: 1 picture (photo.png)" in capsys.readouterr().err
    named = [{one.source for one in sounds_of(captions[path]).heard} for path in sorted(captions)]
    right = sum(len(here & said) for here, said in zip(heard, named, strict=True))
    assert right >= 0.6 * sum(map(len, heard)) and right >= 0.7 * sum(map(len, named))

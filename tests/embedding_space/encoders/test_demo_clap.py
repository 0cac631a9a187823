"""pretrained/demo_clap knows the sounds of the demo world."""

from __future__ import annotations

import torch

from common.config import compose_config
from common.plain import plain
from demo_world.sounds.audio import write_flac
from demo_world.sounds.render import render_sound
from demo_world.sounds.world import scene_and_captions
from embedding_space.encoders.load import load_encoder

COUNT = 16


def test_it_tells_sounds_by_their_captions(tmp_path):
    encoder = load_encoder(**plain(compose_config("prepare_data", "dataset=demo_sounds", "encoder=demo_clap").encoder))
    assert encoder.medium == "sound"
    paths, captions = [tmp_path / f"{number}.flac" for number in range(COUNT)], []
    for number, path in enumerate(paths):
        scene, texts = scene_and_captions(0, "test", number)
        write_flac(render_sound(scene), path)
        captions.append(texts[0])
    similar = encoder.encode_images(paths) @ encoder.encode_texts(captions).T
    right = (similar.argmax(dim=1) == torch.arange(COUNT)).sum()
    assert right >= 0.75 * COUNT

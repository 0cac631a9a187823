"""From a scene that moves to its frames."""

from __future__ import annotations

import numpy as np

from demo_world.motion.scene import MotionScene
from demo_world.render import IMAGE_SIZE, render

FRAMES = 8
FALL = {"rainy": 0.37, "snowing": 0.07}  # of a drop or a flake, in picture heights a frame


def render_frames(scene: MotionScene, frames: int = FRAMES, size: int = IMAGE_SIZE) -> np.ndarray:
    """Draw the scene at equal steps of time: (frames, size, size, 3) uint8."""
    pictures = []
    for frame in range(frames):
        moment = frame / max(frames - 1, 1)
        fallen = FALL.get(scene.rest.weather, 0.0) * frame if scene.falls(moment) else None
        pictures.append(render(scene.at(moment), size, fallen=fallen))
    return np.stack(pictures)

"""The timestep at which images enter the bridge, from data: the value of `image_timestep: auto`."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from alignment.auto_noise import BY_NEARNESS, EstimationRows, fixed_noise, no_level
from ddpm.diffusion import TextDiffusion


def estimate_image_timestep(diffusion: TextDiffusion, rows: EstimationRows) -> dict[str, Any]:
    """`image_timestep` in 1..T-1 for these rows, as `value`, with the facts of the estimate.

    For pairs it is the first timestep at which the expected cosine of a noised text to itself is no higher than that of
    images to their texts: `TextDiffusion.expected_cosine`, docs/bridge.md. For unpaired rows it is the first at which
    noised texts are no nearer to their nearest text than images are to theirs. (For image generation, texts and images
    change places.)

    Raises:
        ValueError: no noise takes texts that far.
    """
    steps = range(1, diffusion.timesteps)
    if rows.paired:
        target = rows.paired_cosine()
        value = 1 + bisect_left(steps, -target, key=lambda step: -diffusion.expected_cosine(step))
        facts = {"method": "cosine of noised texts to themselves = that of the pairs", "paired_cosine": target}
    else:
        clean, target = rows.queries, rows.inference_nearness()
        noise = fixed_noise(clean)

        def nearness(step: int) -> float:
            return rows.training_nearness(diffusion.add_noise(clean, step, noise))

        value = 1 + bisect_left(steps, -target, key=lambda step: -nearness(step))
        if value == diffusion.timesteps:
            raise no_level("image_timestep", target, nearness(steps[-1]))
        facts = {"method": BY_NEARNESS, "nearest_text_cosine": target}
    return {"option": "image_timestep", "value": min(value, steps[-1]), **facts, **rows.facts}

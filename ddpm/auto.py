"""The step at which images enter the bridge, from data: what `image_timestep: auto` is set to."""

from __future__ import annotations

from bisect import bisect_left

from alignment.auto import BY_NEARNESS, EstimationRows, fixed_noise, no_level
from ddpm.diffusion import TextDiffusion


def estimate_image_timestep(diffusion: TextDiffusion, rows: EstimationRows) -> dict:
    """`image_timestep` in 1..T-1 for these rows, as `value`, with the facts of the estimate.

    Paired: the first step at which a noised text keeps no more of its cosine to itself, in expectation
    1 / sqrt(1 + D / (s² SNR_t)), than images have to their texts (docs/bridge.md). Unpaired: the first at which noised
    texts are no nearer to their nearest text than images to theirs; ValueError when none takes them that far.
    """
    steps = range(1, diffusion.timesteps)
    if rows.image_row is not None:
        aim = rows.mean_paired_cosine
        value = 1 + bisect_left(steps, -aim, key=lambda step: -diffusion.expected_cosine(step))
        facts = {"method": "cosine of noised texts to themselves = that of the pairs", "paired_cosine": aim}
    else:
        texts, aim = rows.queries, rows.image_nearness()
        noise = fixed_noise(texts)

        def nearness(step: int) -> float:
            return rows.text_nearness(diffusion.add_noise(texts, step, noise))

        value = 1 + bisect_left(steps, -aim, key=lambda step: -nearness(step))
        if value == diffusion.timesteps:
            raise no_level("image_timestep", aim, nearness(steps[-1]))
        facts = {"method": BY_NEARNESS, "nearest_text_cosine": aim}
    return {"option": "image_timestep", "value": min(value, steps[-1]), **facts, **rows.facts}

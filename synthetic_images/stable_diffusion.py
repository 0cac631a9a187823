"""Pictures by any text-to-image pipeline of diffusers: Stable Diffusion, SDXL-Turbo, SANA and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from inspect import signature
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator

from common.characters import one_line
from common.checks import Count, NotNegative, checked_dataclass
from common.config import drop_nulls
from common.device import announce, best_device, choose_precision
from common.extras import require
from synthetic_images.drawing import Drawer
from synthetic_images.painter import Drawn

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _with_place(prompt: str) -> str:
    if "{}" not in prompt:
        raise ValueError("must have {} where the caption goes")
    return prompt


@checked_dataclass(prefix="painter.")
class StableDiffusionPainter(Drawer):
    """Draws captions by a pipeline of diffusers.

    A caption for which the pipeline's safety checker blacks the picture out gets none.

    Args:
        model: a pipeline's name on the Hub, or its folder.
        steps: of denoising.
        guidance: scale of classifier-free guidance.
        height, width: pixels; None for the pipeline's own.
        scheduler: the name of a class of diffusers, such as DPMSolverMultistepScheduler; None for the pipeline's own.
        negative_prompt: what pictures are not to show.
        prompt: what the pipeline reads; {} is the caption.
        precision: of the weights and of computing.
        batch_size: pictures at once.
        ending: of the files: png, or jpg.

    Raises:
        ImportError: diffusers is not installed.
        ValueError: the prompt has no place for the caption.
    """

    model: str
    steps: Count = 25
    guidance: NotNegative = 7.5
    height: Count | None = None
    width: Count | None = None
    scheduler: str | None = None
    negative_prompt: str | None = None
    prompt: Annotated[str, AfterValidator(_with_place)] = "{}"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    batch_size: Count = 8
    ending: Literal["png", "jpg"] = "jpg"

    def __post_init__(self):
        require("diffusers")

    def options(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"diffusers": version("diffusers"), "precision": choose_precision(self.precision, best_device())}

    @cached_property
    def pipeline(self) -> Any:
        """The pipeline on its device.

        Raises:
            FileNotFoundError: the model cannot be loaded.
            ValueError: there is no such scheduler.
        """
        import diffusers
        from diffusers import AutoPipelineForText2Image  # pyright: ignore[reportPrivateImportUsage]

        device = best_device()
        precision = choose_precision(self.precision, device, "painter.precision")
        try:
            pipeline: Any = AutoPipelineForText2Image.from_pretrained(self.model, torch_dtype=DTYPES[precision])
        except Exception as error:  # offline, unknown and damaged all come here
            raise FileNotFoundError(
                f"painter.model={self.model} is no text-to-image pipeline that can be loaded ({one_line(error)}): "
                f"where there is a network, run `hf download {self.model} --local-dir FOLDER`, and give "
                "painter.model=FOLDER"
            ) from error
        if self.scheduler is not None:
            kind = getattr(diffusers, self.scheduler, None) if self.scheduler.endswith("Scheduler") else None
            if kind is None:
                raise ValueError(
                    f"painter.scheduler={self.scheduler} is no scheduler of diffusers {version('diffusers')}"
                )
            pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        announce("Painting", device, precision)
        return pipeline.to(device)

    @cached_property
    def _arguments(self) -> dict[str, Any]:
        """What the pipeline is called with, beside prompts and generators."""
        arguments = drop_nulls(
            {
                "num_inference_steps": self.steps,
                "guidance_scale": self.guidance,
                "height": self.height,
                "width": self.width,
                "negative_prompt": self.negative_prompt,
            }
        )
        if unknown := set(arguments) - set(signature(self.pipeline.__call__).parameters):
            raise ValueError(f"{type(self.pipeline).__name__} (painter.model={self.model}) takes no {min(unknown)}")
        return arguments

    def draw(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Drawn]:
        drawn = []
        for start in range(0, len(captions), self.batch_size):
            batch = slice(start, start + self.batch_size)
            drawn += self._draw_batch(captions[batch], seeds[batch])
        return drawn

    @torch.no_grad()
    def _draw_batch(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Drawn]:
        prompts = [self.prompt.replace("{}", caption) for caption in captions]
        arguments = dict(self._arguments)
        if self.negative_prompt is not None:
            arguments["negative_prompt"] = [self.negative_prompt] * len(prompts)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]  # on the CPU: the same on all devices
        output = self.pipeline(prompt=prompts, generator=generators, **arguments)
        blacked_out = getattr(output, "nsfw_content_detected", None) or [False] * len(prompts)
        return [Drawn(None if black else picture) for picture, black in zip(output.images, blacked_out, strict=True)]

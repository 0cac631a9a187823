"""Score generated pictures against real ones and against their sentences. See configs/eval_generation.yaml.

python scripts/eval_generation.py pictures=outputs/generated_images dataset=demo encoder=demo_clip split=test
"""

from __future__ import annotations

from omegaconf import DictConfig

import image_generation.run_names  # noqa: F401, registers ${pictures_name:...}
from common.cli import command


def run(config: DictConfig) -> object:
    """Evaluate as `configs/eval_generation.yaml` says, print the table and return the result."""
    from image_generation.eval_generation import evaluate

    return evaluate(config)


if __name__ == "__main__":
    command("eval_generation", run)()

"""Score captions: of a captioner on a data set's split, or from a file. See configs/eval_coco.yaml.

python scripts/eval_coco.py checkpoint=outputs/image_captioning/demo_c3_seed0 split=test
python scripts/eval_coco.py predictions=captions.json references=captions_val2014.json
"""

from __future__ import annotations

from functools import partial

from omegaconf import DictConfig

import image_captioning.run_names  # noqa: F401, registers ${run_name:...}
from common.cli import command


def run(config: DictConfig) -> object:
    """Evaluate as `configs/eval_coco.yaml` says, print the table and return the result."""
    from image_captioning.eval_coco import evaluate
    from pcm_net.load import load_captioner

    return evaluate(config, partial(load_captioner, concepts=config.concepts))


if __name__ == "__main__":
    command("eval_coco", run)()

"""Every alignment step by name. A downloaded file names the steps of its chain, but cannot choose what code runs."""

from __future__ import annotations

from alignment.covariance_noise import CovarianceNoise
from alignment.memory import TextMemory
from alignment.nearest_texts import NearestTexts
from alignment.noise_across_gap import GaussianNoiseAcrossGap
from alignment.realign import Realign
from alignment.step import Step
from alignment.steps import BASIC_STEPS
from ddpm.bridge import DiffusionBridge
from modality_translation.step import ModalityTranslation

STEPS: dict[str, type[Step]] = {
    **BASIC_STEPS,
    "GaussianNoiseAcrossGap": GaussianNoiseAcrossGap,
    "CovarianceNoise": CovarianceNoise,
    "Realign": Realign,
    "TextMemory": TextMemory,
    "NearestTexts": NearestTexts,
    "DiffusionBridge": DiffusionBridge,
    "ModalityTranslation": ModalityTranslation,
}

"""Proposition 1: a lower bound on how often the cosine of a target to its translation reaches alpha."""

from __future__ import annotations

import numpy as np
from scipy import stats

Numbers = float | np.ndarray


def inner_product_cdf(value: Numbers, dim: int) -> np.ndarray:
    """P(x·y <= value) for independent uniform unit vectors in `dim` dimensions, at least 2.

    (1 + x·y) / 2 is Beta((dim - 1)/2, (dim - 1)/2) distributed. The paper's equation 22 is this with d = dim - 1, the
    sphere's dimension, although Proposition 1 then takes the space's h2 for d.
    """
    if dim < 2:
        raise ValueError(f"dim={dim} must be at least 2")
    half = (dim - 1) / 2
    return stats.beta.cdf((1 + value) / 2, half, half)


def cosine_bound(alpha: float, projection_energy: Numbers, gamma: float, dim: int) -> np.ndarray:
    """P(cosine(z, ẑ) >= alpha) in proposition 1 (equations 7, 21 and 23) for ẑ = Pz + γF.

    As in its proof, Pz is the unit target's projection, F is perpendicular to it, and the cosine is
    (‖Pz‖² + γ z·F) / sqrt(‖Pz‖² + γ²), with z·F as for a uniformly random F. It is exact for a DDIM that has learned
    nothing about z, and a lower bound for one that has, since that makes z·F larger.

    Args:
        alpha: the cosine to reach.
        projection_energy: ‖Pz‖², from 0 to 1, the paper's Σ a²; a number or an array, as is the result.
        gamma: γ, above 0.
        dim: h2, the target's dimension.

    Raises:
        ValueError: values outside these.
    """
    lowest, highest = np.min(projection_energy), np.max(projection_energy)
    if not gamma > 0 or not 0 <= lowest <= highest <= 1:
        raise ValueError(f"gamma={gamma} must be above 0, and projection_energy={lowest} to {highest} from 0 to 1")
    beta = (alpha * np.sqrt(projection_energy + gamma**2) - projection_energy) / gamma
    return 1.0 - inner_product_cdf(beta, dim)

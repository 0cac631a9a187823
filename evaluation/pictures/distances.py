"""How far two sets of pictures are apart in a space of features: torch-fidelity's functions on features of any network.

In the features of Inception these are FID and KID; in others they are other numbers, and are called so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from common.checks import Count, checked_dataclass
from common.extras import require
from evaluation.pictures.moments import Moments


@checked_dataclass("kernel.")
class KernelSubsets:
    """How the kernel distance is estimated: options `kernel.*`.

    subsets: so many draws. subset_size: pictures of each set in a draw; all of the smaller set where it has fewer.
    """

    subsets: Count = 100
    subset_size: Annotated[int, Field(ge=2)] = 1000


@dataclass(frozen=True)
class KernelDistance:
    """The mean over the draws, and their standard deviation; of the draws' size."""

    mean: float
    std: float
    subset_size: int


def frechet_distance(generated: Moments, references: Moments) -> float:
    """The squared Fréchet distance of two normal distributions of these moments,
    |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) (Heusel et al. 2017, arXiv:1706.08500, equation 6).

    It is biased upwards for few pictures, and more so in more dimensions: compare sets of one size.
    """
    require("torch_fidelity")
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    both = [{"mu": m.mean.numpy(), "sigma": m.covariance.numpy()} for m in (generated, references)]
    return max(fid_statistics_to_metric(*both, verbose=False)[KEY_METRIC_FID], 0.0)  # rounding may go below


def kernel_distance(generated: Tensor, references: Tensor, options: KernelSubsets, seed: int = 0) -> KernelDistance:
    """The squared maximum mean discrepancy of rows (N, D) and (M, D) with the kernel (x y / D + 1)^3, without bias
    (Bińkowski et al. 2018, arXiv:1801.01401, section 3); it may be a little below 0.

    Raises ValueError for fewer than two rows on a side.
    """
    require("torch_fidelity")
    from torch_fidelity import metric_kid

    size = min(options.subset_size, len(generated), len(references))
    if size < 2:
        raise ValueError(f"Two pictures a side are the least, not {len(generated)} generated, {len(references)} real")
    known = {"kid_subsets": options.subsets, "kid_subset_size": size, "rng_seed": seed, "verbose": False}
    values = metric_kid.kid_features_to_metric(generated.double(), references.double(), **known)
    return KernelDistance(values[metric_kid.KEY_METRIC_KID_MEAN], values[metric_kid.KEY_METRIC_KID_STD], size)

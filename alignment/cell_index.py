"""Approximate search of near rows, for memories of millions: faiss's inverted file of cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.extras import require
from common.randomness import evenly_spaced

FEWEST_ROWS_A_CELL = 39  # faiss warns below
TRAINING_ROWS_A_CELL = 64  # more cost time and find hardly better centers


class CellIndex:
    """An index of unit rows (M, D) by cells around 4 √M centers; a query looks into the cells nearest to it.

    Johnson, Douze and Jégou, Billion-scale similarity search with GPUs (arXiv 1702.08734), section 2: IVF. The index
    has its own copy of the rows in float16, and is on the CPU wherever the rows are.

    Raises:
        ImportError: faiss is not installed.
        ValueError: no rows.
    """

    def __init__(self, rows: Tensor):
        require("faiss")
        import faiss

        count, dim = rows.shape
        if not count:
            raise ValueError("an index needs at least one row")
        self.cells = max(1, min(round(4 * math.sqrt(count)), count // FEWEST_ROWS_A_CELL))
        faiss.omp_set_num_threads(torch.get_num_threads())
        quantizer = faiss.IndexFlatIP(dim)
        half = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexIVFScalarQuantizer(quantizer, dim, self.cells, half, faiss.METRIC_INNER_PRODUCT)
        index.by_residual = False  # inner products of the rows themselves
        sample = rows[evenly_spaced(count, TRAINING_ROWS_A_CELL * self.cells)]
        index.train(sample.float().cpu().numpy())  # its k-means draws with a fixed seed
        for part in rows.split(65_536):
            index.add(part.float().cpu().numpy())
        self._quantizer, self._index = quantizer, index  # the index only points to its quantizer

    def nearest(self, queries: Tensor, count: int, probes: int) -> Tensor:
        """(N, count) int64 row numbers, about the nearest to queries (N, D) first; -1 where the cells have no more.

        Where rows have many copies, cells are empty, and all numbers of a query can be -1.

        Args:
            probes: how many cells are searched; as many as there are find all that float16 can tell apart.
        """
        from faiss import SearchParametersIVF

        options = SearchParametersIVF()
        options.nprobe = min(probes, self.cells)
        _, numbers = self._index.search(queries.float().cpu().numpy(), count, params=options)
        return torch.from_numpy(numbers).to(queries.device)

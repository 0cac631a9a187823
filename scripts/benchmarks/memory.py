"""A text memory of many rows: images projected a second, searching all rows, only the nearest, or cells of an index."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from alignment.memory import TextMemory
from embedding_space.store import EmbeddingStore
from scripts.benchmarks.timing import median_seconds, with_ratios


def benchmark_memory(config: DictConfig, repeats: int) -> list[dict]:
    """DeCap's projection by each way, with what approximate ways lose against all rows.

    "neighbors found" is the share of the exact nearest rows that a way finds, "cosine" that of its projections to those
    of all rows (the mean; and the lowest). The index takes its time once, in the process's first projection.
    """
    memory, queries = many_rows(config)
    whole = TextMemory(temperature=config.temperature, rows=len(memory), dim=memory.shape[1])
    whole.memory = memory
    ways = {"the nearest, of all": whole.with_inference_options(neighbors=config.neighbors)}
    seconds_of_index = {}
    for probes in config.probes:
        step = whole.with_inference_options(neighbors=config.neighbors, probes=probes)
        name = f"the nearest, {probes} cells"
        started = time.perf_counter()
        step.nearest(queries[:1])
        seconds_of_index[name], ways[name] = time.perf_counter() - started, step
    ways["all rows (reference)"] = whole
    seconds = median_seconds(
        {name: lambda step=step: step.inference_side(queries) for name, step in ways.items()}, repeats
    )
    exact, nearest = whole.inference_side(queries), ways["the nearest, of all"].nearest(queries)
    rows = []
    for name, step in ways.items():
        cosines = F.cosine_similarity(step.inference_side(queries), exact)
        share = 1.0 if step.neighbors is None else share_of(nearest, step.nearest(queries))
        rows.append(
            {
                "memory": name,
                "texts": len(memory),
                "images per second": len(queries) / seconds[name],
                "neighbors found": share,
                "cosine": cosines.mean().item(),
                "lowest cosine": cosines.min().item(),
                "seconds of the index": seconds_of_index.get(name),
            }
        )
    return with_ratios(rows, "images per second")


def many_rows(config: DictConfig) -> tuple[Tensor, Tensor]:
    """A memory (M, D) and queries (N, D), unit rows.

    The memory is the store's training texts, centered, many times over with noise, and the queries are its test images,
    centered; without a store, rows around random centers.
    """
    generator = torch.Generator().manual_seed(0)
    if config.store is None:
        texts = torch.randn(max(config.rows // 50, 1), config.dim, generator=generator)
        queries = texts[torch.randint(len(texts), (config.queries,), generator=generator)]
        queries = F.normalize(queries + torch.randn(queries.shape, generator=generator), dim=1)
    else:
        store = EmbeddingStore(config.store)
        texts, images = store.texts(store.text_split), store.images("test")
        texts, images = (F.normalize(rows - rows.mean(0), dim=1) for rows in (texts, images))
        queries = images[: config.queries]
    texts, dim = F.normalize(texts, dim=1), texts.shape[1]
    memory = torch.empty(config.rows, dim)
    for out in memory.split(65_536):
        some = texts[torch.randint(len(texts), (len(out),), generator=generator)]
        noise = torch.randn(some.shape, generator=generator) * config.noise / dim**0.5
        F.normalize(some + noise, dim=1, out=out)
    return memory, queries


def share_of(nearest: Tensor, numbers: Tensor) -> float:
    """The share of the row numbers `nearest` (N, k) that are among `numbers` (N, k)."""
    numbers = numbers.sort(dim=1).values
    places = torch.searchsorted(numbers, nearest.contiguous()).clamp(max=numbers.shape[1] - 1)
    return (numbers.gather(1, places) == nearest).float().mean().item()

"""The way from an image to its text: it ends where the chain does, and its plane is that of principal components."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA

from web_app.way import rows_on_the_way, way


def row(seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(256, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_it_ends_where_the_chain_does(desk):
    for name in ("raw", "collapse", "memory", "bridge", "memory_bridge"):
        chain = desk.main.method(name).chain
        places = rows_on_the_way(chain, row())
        assert torch.allclose(places[-1][1], chain.inference_side(row()[None])[0], atol=1e-6)
        assert torch.allclose(places[0][1], row())


def test_its_stops_are_the_chains_steps(desk):
    moved = desk.main.method("memory_bridge").with_bridge(600, 3)
    names = [name for name, _ in rows_on_the_way(moved.chain, row())]
    assert names == ["as encoded", "− mean", "memory", "t = 400", "t = 200", "t = 0"]
    assert [name for name, _ in rows_on_the_way(desk.main.method("raw").chain, row())] == ["as encoded"]


def test_places_are_principal_components_with_the_image_at_the_left(desk):
    chain = desk.main.method("memory_bridge").with_bridge(600, 4).chain
    text, near = row(1), torch.stack([row(seed) for seed in range(2, 12)])
    made = way(chain, row(), text, near)
    path = torch.stack([each for _, each in rows_on_the_way(chain, row())])
    points = torch.cat([path, text[None], near]).numpy()
    pca = PCA(2, svd_solver="full").fit(points)
    places = torch.tensor([*[stop.place for stop in made.stops], made.text, *made.near])
    assert torch.allclose(places.abs(), torch.from_numpy(pca.transform(points)).abs().float(), atol=1e-4)
    assert made.explained == pytest.approx(pca.explained_variance_ratio_.sum(), abs=1e-5)
    assert made.stops[0].place[0] <= made.text[0]
    assert [stop.cosine for stop in made.stops] == pytest.approx((path @ text).tolist(), abs=1e-6)

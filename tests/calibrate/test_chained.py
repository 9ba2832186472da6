"""Samples of SAM's masks: what its image and prompt entries make of theirs, before any pass."""

from __future__ import annotations

from types import SimpleNamespace

import entry_zoo
import pytest
import torch
from torch import fx

from edgeq.calibrate.chained import Chained
from edgeq.calibrate.samples import Sample
from edgeq.frontend.entries import EntryGraph, Shapes, load_entries
from edgeq.frontend.skeleton import stored_tensors
from edgeq.ir.graph import inputs
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make

EVERY = torch.ones(0, dtype=torch.bool)


class Sam:
    """A tiny SAM with two photos and three prompts."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.eager = entry_zoo.model("sam")
        source = SimpleNamespace(config=entry_zoo.config("sam"), assets={}, extras={})
        self.entries: dict[str, EntryGraph] = {entry.name: entry for entry in load_entries(source, Shapes())}
        self.tensors = stored_tensors(self.eager)
        self.photos = [torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(2)]

    def read(self, name: str, rows: slice | None = None) -> torch.Tensor:
        return self.tensors[name].detach()[slice(None) if rows is None else rows]

    def samples(self, gm: fx.GraphModule) -> list[Sample]:
        if "pixel_values" in inputs(gm):
            return [Sample({"pixel_values": photo}, EVERY) for photo in self.photos]
        points = torch.arange(6.0).reshape(3, 1, 1, 1, 2) * 9
        labels = torch.ones(1, 1, 1, dtype=torch.int64)
        return [Sample({"input_points": p, "input_labels": labels}, EVERY) for p in points] if _prompt(gm) else []


def _prompt(gm: fx.GraphModule) -> bool:
    return "input_points" in inputs(gm)


@pytest.fixture(scope="module")
def sam() -> Sam:
    return Sam()


def test_masks_take_photos_by_turns_and_every_prompt(sam):
    calls: list[str] = []
    chained = Chained(list(sam.entries.values()), sam, sam.samples, lambda stage, *_: calls.append(stage))
    found = chained.samples(sam.entries["mask"].gm)
    assert len(found) == 3
    with torch.no_grad():
        wanted = [sam.eager.get_image_embeddings(photo) for photo in sam.photos]
    for i, sample in enumerate(found):
        torch.testing.assert_close(sample.inputs["image_embeddings"], wanted[i % 2], rtol=0, atol=1e-5)
    sparse = [sample.inputs["sparse_embeddings"] for sample in found]
    assert not torch.equal(sparse[0], sparse[1])
    assert all(torch.equal(one.inputs["dense_embeddings"], found[0].inputs["dense_embeddings"]) for one in found)
    assert set(calls) == {"run image for samples", "run prompt for samples"}


def test_entries_run_as_they_were_before_passes(sam):
    chained = Chained(list(sam.entries.values()), sam, sam.samples)
    image = sam.entries["image"].gm
    untouched = sum(1 for _ in image.graph.nodes)
    make("gamma-migration")(image, Context(sam))
    assert sum(1 for _ in image.graph.nodes) > untouched
    (first, *_) = chained.samples(sam.entries["mask"].gm)
    with torch.no_grad():
        wanted = sam.eager.get_image_embeddings(sam.photos[0])
    torch.testing.assert_close(first.inputs["image_embeddings"], wanted, rtol=0, atol=1e-5)


def test_own_data_comes_first_and_no_data_makes_none(sam):
    chained = Chained(list(sam.entries.values()), sam, lambda gm: [])
    assert chained.samples(sam.entries["mask"].gm) == []
    chained = Chained(list(sam.entries.values()), sam, sam.samples)
    assert chained.samples(sam.entries["image"].gm)[0].inputs["pixel_values"] is sam.photos[0]


def test_signs_are_folded_into_masks_from_photos(sam):
    chained = Chained(list(sam.entries.values()), sam, sam.samples)
    report = make("fold-signs", "force=true")(sam.entries["mask"].gm, Context(sam, samples=chained.samples))
    assert len(report.changed) == 7

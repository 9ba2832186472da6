"""Sentence embeddings: the head that sentence-transformers' files describe, over padded texts."""

from __future__ import annotations

import json
from typing import Any

import entry_zoo as zoo
import pytest
import torch
import trace_semantics  # noqa: F401  (gives the traced ops a meaning)

from edgeq.errors import UnsupportedError
from edgeq.frontend.entries import Shapes, export_entries
from edgeq.frontend.pooling import pool


def files(*kinds: str, **settings: Any) -> dict[str, bytes]:
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": f"{i}_{kind}"} for i, kind in enumerate(kinds)]
    return {"modules.json": json.dumps(modules).encode(), "1_Pooling/config.json": json.dumps(settings).encode()}


@pytest.mark.parametrize("mode", ["mean", "cls", "max"])
def test_padding_is_left_out(mode: str) -> None:
    hidden = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    expected = {"mean": hidden[0, :3].mean(0), "cls": hidden[0, 0], "max": hidden[0, :3].amax(0)}[mode]
    torch.testing.assert_close(pool(hidden, mask, mode)[0], expected)
    torch.testing.assert_close(pool(hidden, mask, mode)[1:], pool(hidden[1:], mask[1:], mode))


def test_modules_choose_the_head() -> None:
    head = files("Transformer", "Pooling", "Normalize", pooling_mode_mean_tokens=True, pooling_mode_cls_token=False)
    (entry,) = export_entries(zoo.config("bert"), head, Shapes(batch=(2,), lengths=(7,)))
    assert [(port.name, port.shape) for port in entry.outputs] == [
        ("sentence_embedding", (2, 64)), ("last_hidden_state", (2, 7, 64)),
    ]  # fmt: skip
    eager, given = zoo.model("bert"), zoo.example(entry)
    found = zoo.run(entry, eager, given)
    with torch.no_grad():
        hidden = eager(**given).last_hidden_state
    lengths = given["attention_mask"].sum(1).tolist()
    means = torch.stack([row[:length].mean(0) for row, length in zip(hidden, lengths, strict=True)])
    torch.testing.assert_close(found["sentence_embedding"], means / means.norm(dim=1, keepdim=True))
    torch.testing.assert_close(found["last_hidden_state"], hidden)


def test_without_normalize_the_mean_is_left_alone() -> None:
    head = files("Transformer", "Pooling", pooling_mode="cls")
    (entry,) = export_entries(zoo.config("bert"), head, Shapes(lengths=(7,)))
    found = zoo.run(entry, zoo.model("bert"), zoo.example(entry))
    assert torch.equal(found["sentence_embedding"], found["last_hidden_state"][:, 0])


@pytest.mark.parametrize(
    ("kinds", "settings", "named"),
    [
        (["Transformer", "Pooling", "Dense"], {"pooling_mode_mean_tokens": True}, "Dense"),
        (["Transformer", "Pooling"], {"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len"),
        (["Transformer", "Pooling"], {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "max"),
        (["Transformer", "Pooling"], {}, "no pooling"),
    ],
)
def test_heads_that_edgeq_lacks_are_named(kinds: list[str], settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        export_entries(zoo.config("bert"), files(*kinds, **settings), Shapes(lengths=(7,)))

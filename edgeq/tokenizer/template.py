"""The post-processor: ids in front of a text and behind it."""

from __future__ import annotations

from typing import Any

from edgeq.errors import UnsupportedError

Spec = dict[str, Any]


def template_ids(spec: Spec | None) -> tuple[list[int], list[int]]:
    """Ids that go before and after a single text.

    Raises:
        UnsupportedError: a post-processor that does not put the text between fixed ids.
    """
    added = [ids for item in _flatten(spec) if any(ids := _ids(item))]
    if len(added) > 1:
        raise UnsupportedError("tokenizer.json: more than one post-processor that adds tokens")
    return added[0] if added else ([], [])


def _flatten(spec: Spec | None) -> list[Spec]:
    if spec is None:
        return []
    if spec["type"] != "Sequence":
        return [spec]
    return [inner for item in spec["processors"] for inner in _flatten(item)]


def _ids(spec: Spec) -> tuple[list[int], list[int]]:
    if spec["type"] == "ByteLevel":
        return [], []
    if spec["type"] in ("BertProcessing", "RobertaProcessing"):
        return [spec["cls"][1]], [spec["sep"][1]]
    if spec["type"] != "TemplateProcessing":
        raise UnsupportedError(f"tokenizer.json: post-processor {spec['type']}")
    return _template(spec)


def _template(spec: Spec) -> tuple[list[int], list[int]]:
    parts: tuple[list[int], list[int]] = ([], [])
    texts = 0
    for piece in spec["single"]:
        if "Sequence" in piece:
            texts += 1
            continue
        name = piece["SpecialToken"]["id"]
        parts[min(texts, 1)].extend(spec["special_tokens"][name]["ids"])
    if texts != 1:
        raise UnsupportedError(f"tokenizer.json: a template with the text {texts} times")
    return parts

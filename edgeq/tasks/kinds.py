"""What a model is for, told from the inputs and outputs of its entries, never from its model type."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.tasks.entry import EntryFacts

FED = {"input_ids", "attention_mask", "token_type_ids", "pixel_values", "pixel_mask"}
TEXT_VECTORS = ("sentence_embedding", "text_embeds", "pooler_output", "last_hidden_state")
IMAGE_VECTORS = ("image_embeds", "pooler_output", "last_hidden_state", "image_embeddings")


def kind_of(entries: Sequence[EntryFacts], classes: int, vocabulary: int = 0) -> str:
    """One of chat, embedding, text-classification, token-classification, fill-mask, image-classification,
    image-features, two-tower, segmentation, detection, encoder-decoder, features.

    classes, vocabulary: how many labels and tokens the config names, which tells what a row of logits a token means.
    """
    static = [entry for entry in entries if entry.kind != "token"]
    if len(static) < len(entries):
        return "encoder-decoder" if static else "chat"
    if {"pred_masks", "iou_scores"} <= _outputs(static) and "input_points" in _inputs(static):
        return "segmentation"
    texts, images = of_input(static, "input_ids"), of_input(static, "pixel_values")
    if not _inputs(static) <= FED or {e.name for e in texts} & {e.name for e in images}:
        return "features"
    if texts and images:
        return "two-tower" if {"text_embeds", "image_embeds"} <= _outputs(static) else "features"
    return _of_text(texts[0], classes, vocabulary) if texts else _of_image(images[0]) if images else "features"


def _of_text(entry: EntryFacts, classes: int, vocabulary: int) -> str:
    logits = entry.outputs.get("logits", ())
    if len(logits) == 2:
        return "text-classification"
    if len(logits) == 3 and logits[-1] in (vocabulary, classes):
        return "fill-mask" if logits[-1] == vocabulary else "token-classification"
    return "embedding" if vector(entry, TEXT_VECTORS) and not logits else "features"


def _of_image(entry: EntryFacts) -> str:
    if {"logits", "pred_boxes"} <= set(entry.outputs):
        return "detection"
    if len(entry.outputs.get("logits", ())) == 2:
        return "image-classification"
    return "image-features" if vector(entry, IMAGE_VECTORS) and "logits" not in entry.outputs else "features"


def vector(entry: EntryFacts, names: Sequence[str]) -> str:
    """The first of these outputs that the entry has, "" for none."""
    return next((name for name in names if name in entry.outputs), "")


def of_input(entries: Sequence[EntryFacts], name: str) -> list[EntryFacts]:
    """The entries with an input of that name."""
    return [entry for entry in entries if name in entry.inputs]


def _inputs(entries: Sequence[EntryFacts]) -> set[str]:
    return {name for entry in entries for name in entry.inputs}


def _outputs(entries: Sequence[EntryFacts]) -> set[str]:
    return {name for entry in entries for name in entry.outputs}

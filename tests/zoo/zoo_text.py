"""Text encoders: plain, with a classification head, with a sentence-transformers pooling folder."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from zoo_recipe import Recipe, Run, config, entry_name, run

VOCABULARY, LENGTHS = 100, (7, 24)
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 40, "pad_token_id": 0,
}  # fmt: skip
DISTIL: dict[str, Any] = {
    "vocab_size": VOCABULARY, "dim": 48, "hidden_dim": 96, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 40,
}  # fmt: skip
MODERN = {
    **SIZES, "local_attention": 6, "global_attn_every_n_layers": 2, "bos_token_id": 1, "eos_token_id": 2,
    "cls_token_id": 1, "sep_token_id": 2, "num_hidden_layers": 3,
}  # fmt: skip


def padded(batch: int, length: int, pad: int = 0) -> dict[str, torch.Tensor]:
    """i64 ids without the pad token inside, and masks of different lengths: row 0 fills the bucket unless alone."""
    noise = torch.Generator().manual_seed(length)
    ids = torch.randint(3, VOCABULARY, (batch, length), generator=noise)
    full = torch.tensor([length] if batch > 1 else [])
    short = torch.randint(length // 2, length, (batch - len(full),), generator=noise)
    mask = (torch.arange(length)[None] < torch.cat([full, short])[:, None]).long()
    return {"input_ids": torch.where(mask > 0, ids, pad), "attention_mask": mask}


def tokenized(eager: nn.Module, batch: int, length: int) -> dict[str, torch.Tensor]:
    """`padded`, with token types where the model has several: the second half of each row is segment 1."""
    inputs = padded(batch, length, eager.config.pad_token_id)
    if getattr(eager.config, "type_vocab_size", 0) < 2:
        return inputs
    types = (torch.arange(length) >= length // 2).long().expand_as(inputs["input_ids"])
    return {**inputs, "token_type_ids": types}


def text_runs(eager: nn.Module, batch: int) -> list[Run]:
    """Every bucket once."""
    found = []
    for length in LENGTHS:
        inputs = tokenized(eager, batch, length)
        found.append(run(entry_name("text", length, batch), inputs, eager(**inputs)))
    return found


def pooled_runs(eager: nn.Module, batch: int) -> list[Run]:
    """Mean over real tokens, then length 1, as sentence-transformers does it."""
    found = []
    for length in LENGTHS:
        inputs = tokenized(eager, batch, length)
        outputs = dict(eager(**inputs))
        kept = inputs["attention_mask"][..., None].float()
        mean = (outputs["last_hidden_state"] * kept).sum(1) / kept.sum(1)
        outputs["sentence_embedding"] = nn.functional.normalize(mean, dim=-1)
        found.append(run(entry_name("text", length, batch), inputs, outputs))
    return found


SENTENCE_FILES: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {
        "word_embedding_dimension": SIZES["hidden_size"], "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
    },
    "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": False},
}  # fmt: skip


def text(cls: str, made: Any, main: str, **options: Any) -> Recipe:
    return Recipe(made, cls, options.pop("runs", text_runs), (main,), LENGTHS, **options)


BERT, ROBERTA = config("BertConfig", **SIZES), config("RobertaConfig", **{**SIZES, "pad_token_id": 1})
LABELS = {"num_labels": 3}
RECIPES = {
    "bert": text("BertModel", BERT, "last_hidden_state"),
    "bert_sequence": text("BertForSequenceClassification", config("BertConfig", **SIZES, **LABELS), "logits"),
    "bert_token": text("BertForTokenClassification", config("BertConfig", **SIZES, num_labels=5), "logits"),
    "roberta": text("RobertaModel", ROBERTA, "last_hidden_state"),
    "distilbert": text("DistilBertModel", config("DistilBertConfig", **DISTIL), "last_hidden_state"),
    "distilbert_sequence": text(
        "DistilBertForSequenceClassification", config("DistilBertConfig", **DISTIL, **LABELS), "logits"
    ),
    "minilm": text("BertModel", BERT, "sentence_embedding", runs=pooled_runs, files=SENTENCE_FILES),
    "modernbert": text("ModernBertModel", config("ModernBertConfig", **MODERN), "last_hidden_state"),
}

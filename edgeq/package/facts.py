"""What the packaged program knows of its model: keys and texts, read in place by app/facts.c."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.package.segments import conversation_of
from edgeq.package.segments import facts as chat_facts
from edgeq.package.template import Template
from edgeq.runtime.tokens import Tokenizer, load_tokenizer


def facts_of(artifact: Path, manifest: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """All facts of an artifact, nested.

    Args:
        manifest: edgeq.json. kind: what the program shall be (`programs.py`).

    Raises:
        UnsupportedError: the chat template or the post-processor does what the program cannot.
    """
    task = manifest.get("task") or {}
    found = {name: manifest[name] for name in ("edgeq", "model", "target", "bits")} | {"kind": kind}
    found |= {"licence": _licence(artifact), "entries": [_entry(e) for e in task.get("entries", ())]}
    found |= {name: task[name] for name in ("labels", "activation", "image") if name in task}
    if "text" in task:
        found["text"] = dict(task["text"]) | _around(artifact, task["text"])
    if kind == "chat":
        found |= _chat(Tokenizer(artifact))
    return found


def encode(facts: Mapping[str, Any]) -> bytes:
    """`key NUL text NUL` of every fact, then an empty key. A list's key has its length, its items follow by number."""
    parts = [f"{key}\0{text}\0" for key, text in flatten(facts)]
    if bad := [part for part in parts if part.count("\0") != 2]:
        raise UnsupportedError(f"a text of the model's files holds a zero byte: {bad[0]!r}")
    return "".join(parts).encode() + b"\0"


def flatten(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys joined by dots; None is left out, True is "1", a number its shortest text that reads back exactly."""
    for name, value in facts.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield key, str(len(value))
            yield from flatten(value, f"{key}.")
        elif isinstance(value, list | tuple):
            yield key, str(len(value))
            yield from flatten({str(i): item for i, item in enumerate(value)}, f"{key}.")
        elif value is not None:
            yield key, str(int(value)) if isinstance(value, bool) else str(value)


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("name", "base", "batch", "length")}


def _licence(artifact: Path) -> str | None:
    texts = [p.read_text(encoding="utf-8", errors="replace") for name in ("LICEN[CS]E*", "NOTICE*", "USE_POLICY*")
             for p in sorted(artifact.glob(name))]  # fmt: skip
    return "\n".join(texts).replace("\0", "") or None


def _around(artifact: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens that the post-processor puts behind a text (they stay when it is cut), and the padding token."""
    tokenizer = load_tokenizer(artifact / "tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encoded = tokenizer.encode("a")
    if any(encoded.type_ids):
        raise UnsupportedError("tokenizer.json: the post-processor gives a single text another type than 0")
    mask = list(encoded.special_tokens_mask)
    named = tokenizer.token_to_id(Tokenizer(artifact).special_tokens.get("pad_token", ""))
    suffix = mask[::-1].index(0) if 0 in mask else 0
    return {"suffix": suffix, "pad_id": int(spec.get("pad_id") or 0) if named is None else int(named)}


def _chat(tokenizer: Tokenizer) -> dict[str, Any]:
    found: dict[str, Any] = {"stops": sorted(tokenizer.stop_tokens)}
    if tokenizer.chat_template is not None:
        found["chat"] = chat_facts(conversation_of(Template(tokenizer.chat_template, tokenizer.special_tokens)))
    return found

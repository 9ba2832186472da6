"""The tokens a decoder is given before it speaks: its start token, and for speech the language and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeq.errors import ArtifactError, UsageError

Hear = Callable[[list[int]], np.ndarray]  # tokens -> f32[vocab], logits after them


def opening(rules: dict[str, Any], hear: Hear, language: str | None = None, task: str | None = None) -> list[int]:
    """The prompt.

    A multilingual speech model is told the language: the given one, else the likeliest by its own first logits.

    Args:
        rules: `task["generation"]`. hear: asks the decoder. language: `en`, or as the model spells it (`<|en|>`).
        task: `transcribe` (default) or `translate`, for models that know both.

    Raises:
        UsageError: a language or task that the model does not know.
    """
    if "start" not in rules:
        raise ArtifactError("the model's files name no decoder_start_token_id: nothing says how its decoder begins")
    found = [int(rules["start"])]
    languages, tasks = rules.get("lang_to_id") or {}, rules.get("task_to_id") or {}
    if rules.get("is_multilingual", bool(languages)) and languages:
        found.append(_language(languages, language, lambda: hear(found)))
        found += [_choice("task", tasks, task or "transcribe")] if tasks else []
    elif language or task:
        raise UsageError("this model knows one language and one task: leave --language and --translate out")
    elif forced := rules.get("forced_decoder_ids"):
        return found + [int(token) for _, token in sorted(forced) if token is not None]
    if "no_timestamps_token_id" in rules:
        found.append(int(rules["no_timestamps_token_id"]))
    return found


def _language(languages: dict[str, int], wanted: str | None, logits: Callable[[], np.ndarray]) -> int:
    if wanted is None:
        ids = sorted(languages.values())
        return ids[int(logits()[ids].argmax())]
    return _choice("language", languages, wanted if wanted in languages else f"<|{wanted}|>")


def _choice(what: str, table: dict[str, int], wanted: str) -> int:
    if wanted not in table:
        raise UsageError(f"no {what} {wanted.strip('<|>')!r}; this model has {' '.join(k.strip('<|>') for k in table)}")
    return int(table[wanted])

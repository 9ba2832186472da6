from __future__ import annotations

import json
import math

import pytest

from edgeq.errors import UsageError
from edgeq.sensitivity.result import Candidate, Sensitivity, Unit

FOUND = Sensitivity(
    "m", "kl", "nats a token", 512,
    (
        Unit(("l.0.q", "l.0.k"), (96, 64), {"w4g32": Candidate(0.25, 3840), "w8": Candidate(0.001, 6200)}),
        Unit(("head", "embed"), (272, 64), {"w8g32": Candidate(0.0, 19000)}, "head"),
    ),
    "a16",
)  # fmt: skip


def test_json_is_read_back_as_it_was() -> None:
    assert Sensitivity.from_json(json.loads(json.dumps(FOUND.to_json()))) == FOUND


def test_a_damage_that_json_lacks_is_infinite() -> None:
    text = FOUND.to_json()
    text["units"][0]["formats"]["w8"]["damage"] = None
    assert Sensitivity.from_json(text).units[0].formats["w8"].damage == math.inf


@pytest.mark.parametrize("drop", ["model", "units", "tokens"])
def test_another_json_is_refused(drop: str) -> None:
    text = FOUND.to_json()
    del text[drop]
    with pytest.raises(UsageError, match=drop):
        Sensitivity.from_json(text)

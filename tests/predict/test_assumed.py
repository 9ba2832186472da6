"""What a dry run cannot assume."""

from __future__ import annotations

import pytest

from edgeq.errors import UnsupportedError
from edgeq.frontend.entries import EntryGraph
from edgeq.ir.text import parse
from edgeq.passes.pass_ import Context
from edgeq.predict.assumed import OWN_FORMATS, run_assumed


@pytest.mark.parametrize("name", OWN_FORMATS)
def test_formats_that_only_a_pass_knows_are_refused(name):
    gm = parse("%x = input : f32[1, 4]\nreturn (%x,)")
    with pytest.raises(UnsupportedError, match=f"{name} stores weights in a format of its own"):
        run_assumed(EntryGraph("a", "a", "static", 1, 0, gm, (), ()), ["gptq", name], Context())

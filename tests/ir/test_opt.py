from __future__ import annotations

import pytest

from edgeq.errors import UsageError, VerifyError
from edgeq.ir.opt import opt

NORM = """\
%x = input : f32[1, s, 4]
%w = weight norm.weight : f32[4]
%y = edgeq.rms_norm(%x, %w, eps=1e-06) : f32[1, s, 4] @ norm
return %y
"""


def test_text_is_verified_printed_and_passed_through_passes():
    assert opt(NORM) == NORM
    assert opt("# comment\n" + NORM, "specialise{rows=2}") == NORM.replace("s, 4", "2, 4")


def test_faults_of_the_text_and_of_the_pipeline_are_reported():
    with pytest.raises(VerifyError, match=r"is typed f32\[1, s, 4\], gives"):
        opt(NORM.replace("input : f32[1, s, 4]", "input : f32[2, s, 4]"))
    with pytest.raises(UsageError, match="not known"):
        opt(NORM, "fold-everything")

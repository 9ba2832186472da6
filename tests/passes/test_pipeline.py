from __future__ import annotations

import pytest

from edgeq.errors import UsageError, VerifyError
from edgeq.ir.text import parse
from edgeq.passes import PASSES, load
from edgeq.passes.pass_ import Pass, Report
from edgeq.passes.pipeline import parse_pipeline


def test_pipeline_text_round_trips():
    text = "add-cache{kv=i8,context=64},last-row{through_residual=true},merge-linears,quantize{bits=w8a8}"
    assert ",".join(map(str, parse_pipeline(text))) == text
    assert parse_pipeline("") == []
    assert str(parse_pipeline(" last-row{through-residual=true} ")[0]) == "last-row{through_residual=true}"


def test_every_registered_pass_loads_under_its_name():
    assert {load(name).name for name in PASSES} == set(PASSES)


@pytest.mark.parametrize(
    "text, word",
    [
        ("fuse-everything", "known: add-cache"),
        ("quantize{depth=3}", "options: bits, head"),
        ("quantize{bits}", "not option=value"),
        ("specialise{rows=many}", "not a int"),
        ("last-row{through_residual=yes}", "not a bool"),
        ("quantize{bits=w4a8", "is not a pass"),
        ("quantize{bits=w9a8}", "w9"),
        ("add-cache{kv=f8}", "f8"),
        ("specialise{rows=0}", "0 rows"),
    ],
)
def test_bad_pipelines_say_what_is_known(text, word):
    with pytest.raises(UsageError, match=word):
        parse_pipeline(text)


class Breaks(Pass):
    name = "breaks"

    def run(self, gm, context):
        next(node for node in gm.graph.nodes if node.op == "call_function").update_kwarg("eps", 1e-5)
        gm.graph.output_node().args[0].update_arg(1, gm.graph.output_node().args[0].args[0])
        return Report("breaks")


def test_an_invalid_result_names_the_pass():
    gm = parse(
        "%x = input : f32[1, s, 4]\n%w = weight norm.weight : f32[4]\n"
        "%y = edgeq.rms_norm(%x, %w, eps=1e-06) : f32[1, s, 4] @ norm\nreturn %y\n"
    )
    with pytest.raises(VerifyError, match=r"after pass breaks.*\n.*rms_norm at norm"):
        Breaks()(gm)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.errors import UsageError
from edgeq.quant.bits import HEADS, KV, Bits
from edgeq.quant.format import GROUP_SIZES, WeightFormat

PLAIN = st.builds(WeightFormat, st.sampled_from([2, 3, 4, 8]), st.sampled_from([0, *GROUP_SIZES]), st.booleans())
KINDS = st.builds(
    WeightFormat.named, st.sampled_from(["w1", "t2", "t1.6", "nf4", "log4t2", "p2", "c4"]), st.sampled_from(GROUP_SIZES)
)
OFFSET = st.builds(
    WeightFormat.named, st.sampled_from(["w2", "w3", "w4", "w8"]), st.sampled_from(GROUP_SIZES), st.just("m")
)
WEIGHTS = st.one_of(PLAIN, KINDS, OFFSET)
HEAD = st.sampled_from([WeightFormat.parse(text) for text in HEADS.values()])
CACHE = st.sampled_from(sorted(KV.values()))
INTEGER = st.builds(Bits, WEIGHTS, st.sampled_from(["a8", "a8s", "a4", "a16"]), CACHE, HEAD)
FLOAT = st.builds(Bits, st.sampled_from([WeightFormat(16), WeightFormat(32)]), st.just("a16"), CACHE, HEAD)


@given(st.one_of(INTEGER, FLOAT))
def test_printed_text_parses_back(bits: Bits) -> None:
    assert Bits.parse(str(bits)) == bits
    assert str(Bits.parse(str(bits))) == str(bits)


@pytest.mark.parametrize(
    ("text", "weight", "act", "kv", "head"),
    [
        ("w4a8", "w4g32", "a8", "f16", "w8g32"),
        ("w4a8g128", "w4g128", "a8", "f16", "w8g32"),
        ("w8a8", "w8", "a8", "f16", "w8g32"),
        ("w4a16", "w4g32", "a16", "f16", "w8g32"),
        ("w4a8kv8", "w4g32", "a8", "i8", "w8g32"),
        ("w4a8g64a", "w4g64a", "a8", "f16", "w8g32"),
        ("w4a8pc", "w4", "a8", "f16", "w8g32"),
        ("w4a8head4", "w4g32", "a8", "f16", "w4g32"),
        ("W8A8headfp16kv8", "w8", "a8", "i8", "f16"),
        ("w4a8sg64akv8", "w4g64a", "a8s", "i8", "w8g32"),
        ("w8a8s", "w8", "a8s", "f16", "w8g32"),
        ("w2a16", "w2g64", "a16", "f16", "w8g32"),
        ("w3a4g128a", "w3g128a", "a4", "f16", "w8g32"),
        ("t2a8", "t2g128", "a8", "f16", "w8g32"),
        ("t1.6a8kv4", "t1.6g256", "a8", "i4", "w8g32"),
        ("nf4a16g128", "nf4g128", "a16", "f16", "w8g32"),
        ("mxfp4a8", "mxfp4", "a8", "f16", "w8g32"),
        ("fp8a16kv2", "fp8", "a16", "i2", "w8g32"),
        ("fp8e5a16", "fp8e5", "a16", "f16", "w8g32"),
        ("w4a8g32m", "w4g32m", "a8", "f16", "w8g32"),
        ("w1a8", "w1g128", "a8", "f16", "w8g32"),
        ("w1a1", "w1", "a1", "f16", "w8g32"),
        ("log4t2a8", "log4t2", "a8", "f16", "w8g32"),
        ("fp16", "f16", "a16", "f16", "f16"),
        ("fp32", "f32", "a16", "f32", "f32"),
    ],
)
def test_what_each_spelling_means(text: str, weight: str, act: str, kv: str, head: str) -> None:
    bits = Bits.parse(text)
    assert (str(bits.weight), bits.act, bits.kv, str(bits.head)) == (weight, act, kv, head)


def test_defaults_are_left_out_of_the_canonical_text() -> None:
    assert str(Bits.parse("w4a8g32kv16head8")) == "w4a8"
    assert str(Bits.parse("w8a8pc")) == "w8a8"
    assert str(Bits.parse("w4a8head4kv8")) == "w4a8kv8head4"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("w5a8", "'w5'.*not there yet"), ("w4a2", "'a2'.*a8s"), ("bf16", "not there yet"), ("w4", "'w4'"),
     ("w4a16s", "'a16s'.*a8s"),
     ("w4a8g48", "'g48'.*g32"), ("w4a8g64x", "'x'"), ("w4a8kv3", "'kv3'.*kv8"), ("fp8a8", "in float"), ("w2a1", "w1a1"),
     ("t3a8", "not known"), ("w4a8head3", "'head3'.*head4"),
     ("w4a8kv8kv8", "twice"), ("fp324", "'4'"), ("", "''"), ("int4", "'int4'.*w4a8"), ("w4 a8", "'w4 a8'")],
)  # fmt: skip
def test_errors_quote_the_bad_part(text: str, quoted: str) -> None:
    with pytest.raises(UsageError, match=quoted):
        Bits.parse(text)


def test_a_float_head_takes_float_activations() -> None:
    assert Bits.parse("w4a8headfp16").head_act == "a16"
    assert Bits.parse("w4a8").head_act == "a8"


def test_description_names_every_default() -> None:
    assert Bits.parse("w4a8").describe() == (
        "weights 4-bit groups of 32, symmetric; activations int8 per token; KV cache fp16; "
        "embedding and head 8-bit groups of 32, symmetric"
    )


def test_static_activations_are_described() -> None:
    bits = Bits.parse("w8a8s")
    assert "activations int8 per tensor (static)" in bits.describe()
    assert bits.head_act == "a8s"


def test_float_weights_with_int8_activations_are_refused() -> None:
    with pytest.raises(UsageError, match="a16"):
        Bits(WeightFormat(32), "a8", "f32", WeightFormat(32))

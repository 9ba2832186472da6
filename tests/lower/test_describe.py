"""What the manifest says of regions and kernels: multiply-adds of a run, the ops of glue."""

from __future__ import annotations

from typing import Any

from edgeq.kernels.kernel import Kernel, Param
from edgeq.lower.describe import describe_entry, describe_kernel
from edgeq.lower.plan import NULL, PRIVATE, Call, Entry, Literal, Region

ROW, PLAIN = (Param("m", "value"), Param("x", "in")), (Param("x", "in"),)


def kernel(adds: int, params: tuple[Param, ...], family: str = "linear_int.gemm", **options: Any) -> Kernel:
    return Kernel("k", params, lambda isa: None, "row", 8, adds, family, options)


def entry(max_rows: int, *calls: tuple[Kernel, tuple[Any, ...]]) -> Entry:
    made = [Call(k, args, PRIVATE, (), ()) for k, args in calls]
    return Entry("text_32", max_rows, [Region(made, ["layer.0"])], [])


def test_a_static_entry_counts_the_rows_of_every_call():
    gemm = (kernel(100, ROW), (Literal("32"), NULL))
    gemv = (kernel(10, PLAIN), (NULL,))
    attend = (kernel(3, PLAIN, "attend.attend", B=2, S=32), (NULL,))
    (region,) = describe_entry(entry(0, gemm, gemv, attend))["regions"]
    assert region["ops"] == 100 * 32 + 10 + 3 * 64
    assert region["weight_bytes"] == 24


def test_a_token_entry_counts_one_row():
    (region,) = describe_entry(entry(16, (kernel(100, ROW), (Literal("m"), NULL))))["regions"]
    assert region["ops"] == 100


def test_glue_says_which_ops_it_fuses():
    glue = kernel(0, PLAIN, "glue", ops="add_softmax", shape=(2, 7), units=2)
    assert describe_kernel(glue)["what"] == "add_softmax -> [2, 7]"
    assert describe_kernel(kernel(1, PLAIN)) | {"family": "linear_int.gemm", "what": ""} == describe_kernel(
        kernel(1, PLAIN)
    )

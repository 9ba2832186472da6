"""Programs of glue: where values lie, what needs no kernel, what is shared, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from glue_programs import Case, Suite, operand, trace, whole

from edgeq.errors import UnsupportedError
from edgeq.lower.glue.program import Operand, Program, program

R = torch.randn
torch.manual_seed(1)


def compiled(case: Case) -> Program:
    case.compile()
    assert case.program is not None, case.error
    return case.program


def test_layout_without_moving_needs_no_kernel() -> None:
    made = compiled(Case(lambda x: (x.reshape(2, 7, 4, 16), x.unsqueeze(0), x[1]), (R(2, 7, 64),)))
    assert not made.steps
    assert [(a.value, a.source, a.offset) for a in made.aliases] == [(1, 0, 0), (2, 0, 0), (3, 0, 7 * 64)]
    assert [made.values[i].shape for i in made.outputs] == [(2, 7, 4, 16), (1, 2, 7, 64), (7, 64)]


def test_padded_rows_cannot_be_split_in_place() -> None:
    made = compiled(Case(lambda x: x.reshape(2, 7, 5, 6), (R(2, 7, 30),)))
    assert len(made.steps) == 1 and not made.aliases


def test_a_slice_of_columns_is_no_alias_because_its_pads_must_be_zero() -> None:
    assert len(compiled(Case(lambda x: x[..., :30], (R(2, 7, 32),))).steps) == 1


def test_outputs_are_padded_and_equal_clusters_share_kernels() -> None:
    first = compiled(Case(lambda x: torch.sigmoid(x) * 2, (R(3, 20),)))
    second = compiled(Case(lambda y: torch.sigmoid(y) * 2, (R(3, 20),)))
    other = compiled(Case(lambda x: torch.sigmoid(x) * 3, (R(3, 20),)))
    assert first.values[first.outputs[0]] == Operand((3, 20), "f32", 32)
    assert [s.kernel.name for s in first.steps] == [s.kernel.name for s in second.steps]
    assert first.steps[0].kernel.name != other.steps[0].kernel.name


def test_the_name_says_how_inputs_lie() -> None:
    dense = compiled(Case(lambda x: x * 2, (R(3, 20),), strides=(20,)))
    padded = compiled(Case(lambda x: x * 2, (R(3, 20),), strides=(32,)))
    assert dense.steps[0].kernel.name != padded.steps[0].kernel.name


def test_elementwise_neighbours_are_fused() -> None:
    made = compiled(Case(lambda x, y: torch.relu(x.transpose(1, 2) * 2 + y), (R(2, 5, 20), R(2, 20, 5))))
    assert len(made.steps) == 1


def test_permutations_around_a_sum_are_part_of_it() -> None:
    def pool(x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)

    assert len(compiled(Case(pool, (R(1, 9, 9, 32),))).steps) == 1

    def heads(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return (x.reshape(9, 4, 32).transpose(0, 1) @ w).transpose(0, 1).reshape(9, 4 * 16)

    assert len(compiled(Case(heads, (R(9, 128), R(4, 32, 16)))).steps) == 1


def test_kernels_count_their_multiply_adds() -> None:
    made = compiled(Case(lambda x, y: torch.relu(x @ y), (R(3, 17, 37), R(3, 37, 50))))
    assert [s.kernel.ops for s in made.steps] == [3 * 17 * 37 * 50]


def test_a_transpose_that_a_product_would_gather_stays_apart() -> None:
    assert len(compiled(Case(lambda x, y: x @ y.transpose(1, 2), (R(2, 64, 48), R(2, 64, 48)))).steps) == 2


def test_what_cannot_be_compiled_names_op_and_module() -> None:
    cluster = whole(trace(lambda x: torch.sort(x)[0], (R(3, 20),)))
    for node in cluster.nodes:
        node.meta["hf"] = "model.layers.3.router"
    with pytest.raises(UnsupportedError, match=r"model\.layers\.3\.router.*aten\.sort"):
        program(cluster, {cluster.inputs[0]: operand(R(3, 20))})


def test_math_without_code_is_refused_before_anything_is_compiled() -> None:
    case = Case(lambda x: torch.acos(x), (R(3, 20),))
    case.compile()
    assert "no code for TVM's acos" in str(case.error)


def test_rows_of_any_stride(tmp_path: Path) -> None:
    """Dense odd rows and rows further apart than they need."""

    def mixed(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.cat([x, y], 1) * 3, x.mean(-1), torch.softmax(y, -1), x @ y.transpose(1, 2), x.transpose(0, 2)

    inputs = (R(3, 5, 21), R(3, 4, 21))
    cases = {str(s): Case(mixed, inputs, s) for s in [(21, 21), (32, 21), (48, 64), (22, 23)]}
    suite = Suite(cases, tmp_path)
    for name in cases:
        suite.check(name)


def test_nothing_beside_a_dense_tensor_is_read(tmp_path: Path) -> None:
    """The last row ends where the memory may end; what lies behind must not reach a result."""

    def f(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.exp(x), x.sum(-1), x.amax(-1)

    suite = Suite({"f": Case(f, (R(1, 5),), (5,))}, tmp_path)
    suite.check("f")

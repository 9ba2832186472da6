from __future__ import annotations

import json

import pytest

from edgeq.errors import ToolchainError, UnsupportedError
from edgeq.modelled.disassembly import Instruction
from edgeq.modelled.loops import Stretch
from edgeq.modelled.mca import Cycles, Simulated, mca, mca_all, parse


def stretch(*lines: str) -> Stretch:
    body = tuple(Instruction(4 * i, *line.split(" ", 1), place=None) for i, line in enumerate(lines))
    return Stretch(body, 1, False)


def test_the_summary_is_read() -> None:
    # Three instructions for either vector port and two for one of them: five over two, though apart they need two.
    use = [{"InstructionIndex": 5, "ResourceIndex": i, "ResourceUsage": n} for i, n in ((0, 9.0), (1, 2.0), (2, 3.0))]
    region = {
        "Name": "3",
        "Instructions": ["add"] * 5,
        "SummaryView": {"BlockRThroughput": 2.0, "TotalCycles": 303},
        "ResourcePressureView": {"ResourcePressureInfo": [{**use[0], "InstructionIndex": 0}, *use]},
    }
    names = ["N1UnitS", "N1UnitV0", "N1UnitV1"]
    output = json.dumps({"CodeRegions": [region], "TargetInfo": {"Resources": names}})
    assert parse(output) == {3: Simulated(cycles=303, rthroughput=2.0, pressure=2.5)}
    assert Cycles(3.0, 2.0, 5, 2.5).port_bound == 2.5
    with pytest.raises(ToolchainError, match="something else"):
        parse("oops")


def test_instructions_a_cycle() -> None:
    assert Cycles(total=8.0, rthroughput=6.0, instructions=20).ipc == 2.5


@pytest.mark.usefixtures("llvm")
@pytest.mark.parametrize("cpu", ["cortex-a55", "neoverse-n1", "neoverse-v1"])
def test_a_chain_of_additions_takes_a_cycle_each(cpu: str) -> None:
    chain = stretch(*["add x0, x0, #1"] * 12)
    assert mca(chain, cpu).total == pytest.approx(12, abs=0.5)


@pytest.mark.usefixtures("llvm")
def test_the_port_bound_is_below_the_cycles_of_a_chain() -> None:
    chain = [f"sdot v0.4s, v{i}.16b, v{i}.16b" for i in range(1, 9)]
    apart = [f"sdot v{i}.4s, v30.16b, v31.16b" for i in range(1, 9)]
    slow, fast = mca_all([stretch(*chain), stretch(*apart)], "neoverse-n1")
    assert slow.rthroughput == fast.rthroughput == pytest.approx(4)  # two pipes
    assert slow.total > fast.total >= fast.rthroughput


@pytest.mark.usefixtures("llvm")
def test_work_for_one_port_and_for_any_of_a_kind_is_added_up() -> None:
    shifts = [f"ushr v{i}.16b, v30.16b, #4" for i in range(4)]  # one of the two vector ports of Neoverse N1
    ands = [f"and v{i}.16b, v30.16b, v31.16b" for i in range(4, 16)]  # either
    found = mca(stretch(*shifts, *ands), "neoverse-n1")
    assert found.rthroughput == pytest.approx(6)  # twelve over two, as if the shifts were not there
    assert found.port_bound == pytest.approx(8)  # sixteen over two
    assert found.total == pytest.approx(8, abs=0.2)


@pytest.mark.usefixtures("llvm")
def test_calls_and_returns_are_left_out() -> None:
    with_call = Stretch((*stretch("add x0, x0, #1").body, Instruction(4, "bl", "0x40 <g>", 0x40)), 1, False)
    assert mca(with_call, "neoverse-n1").total == pytest.approx(1, abs=0.1)
    assert mca(stretch("ret "), "neoverse-n1").total == 0


@pytest.mark.usefixtures("llvm")
def test_a_processor_without_the_instruction_is_refused_with_its_name() -> None:
    with pytest.raises(UnsupportedError, match="neoverse-n1 lacks i8mm"):
        mca(stretch("smmla v0.4s, v1.16b, v2.16b"), "neoverse-n1")
    assert mca(stretch("smmla v0.4s, v1.16b, v2.16b"), "neoverse-v1").total > 0

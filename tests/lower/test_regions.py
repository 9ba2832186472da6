"""A barrier wherever a thread could see another's unfinished work, and nowhere else."""

from edgeq.kernels.kernel import Kernel
from edgeq.lower.plan import PRIVATE, ROWS, Call, Split
from edgeq.lower.regions import RegionBuilder
from edgeq.lower.values import Buffer


def call(split, reads=(), writes=()):
    return Call(Kernel("k", (), lambda isa: None, "row"), (), split, tuple(reads), tuple(writes))


def regions(*calls):
    builder = RegionBuilder()
    for c in calls:
        builder.add(c, "")
    return [len(r.calls) for r in builder.regions]


def units(n, share=""):
    return Split("units", n, share=share)


def test_private_work_needs_no_barrier_before_the_split_that_reads_it():
    x, q, y = Buffer("x", 64, 1), Buffer("q", 64, 1, private=True), Buffer("y", 64, 1)
    assert regions(call(PRIVATE, [x], [q]), call(units(4), [q], [y])) == [2]


def test_reading_what_others_wrote_needs_a_barrier():
    y, q = Buffer("y", 64, 1), Buffer("q", 64, 1, private=True)
    assert regions(call(units(4), [], [y]), call(PRIVATE, [y], [q])) == [1, 1]
    assert regions(call(units(4), [], [y]), call(units(4), [y], [])) == [1, 1]


def test_writing_what_others_still_read_needs_a_barrier():
    x, q = Buffer("x", 64, 1), Buffer("q", 64, 1, private=True)
    assert regions(call(PRIVATE, [x], [q]), call(units(4), [q], [x])) == [1, 1]


def test_the_same_share_of_a_tensor_stays_with_its_thread():
    y = Buffer("y", 64, 1)
    assert regions(call(units(4, "y"), [], [y]), call(units(4, "y"), [y], [y])) == [2]
    assert regions(call(units(4, "y"), [], [y]), call(units(4, "z"), [y], [])) == [1, 1]


def test_row_work_follows_row_work():
    x, y = Buffer("x", 64, 16), Buffer("y", 64, 16)
    assert regions(call(ROWS, [], [x]), call(ROWS, [x], [y])) == [2]


def test_lifetimes_are_region_numbers():
    x, y = Buffer("x", 64, 1), Buffer("y", 64, 1)
    regions(call(units(2), [], [x]), call(units(2), [x], [y]), call(units(2), [y], []))
    assert (x.first, x.last, y.first, y.last) == (0, 1, 1, 2)

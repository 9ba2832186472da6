from hypothesis import given
from hypothesis import strategies as st

from edgeq.lower.arena import place, stack
from edgeq.lower.values import Buffer


@st.composite
def buffers(draw):
    made = []
    for i in range(draw(st.integers(0, 12))):
        first = draw(st.integers(0, 8))
        b = Buffer(f"b{i}", draw(st.integers(1, 5000)), draw(st.integers(1, 4)))
        b.first, b.last = first, draw(st.integers(first, 8))
        made.append(b)
    return made


@given(buffers(), st.integers(0, 3))
def test_buffers_alive_together_never_overlap(made, start):
    start *= 128
    end = place(made, start)
    for i, a in enumerate(made):
        assert start <= a.offset and a.offset + a.bytes <= end and a.offset % 128 == 0
        for b in made[:i]:
            together = a.first <= b.last and b.first <= a.last
            apart = a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset
            assert apart or not together


def test_memory_is_shared_between_buffers_that_follow_each_other():
    made = [Buffer(f"b{i}", 1024, 1) for i in range(10)]
    for i, b in enumerate(made):
        b.first = b.last = i
    assert place(made) == 1024


def test_stack_keeps_everything_apart():
    made = [Buffer("a", 100, 1), Buffer("b", 300, 1)]
    assert stack(made, 128) == 128 + 128 + 384
    assert [b.offset for b in made] == [128, 256]

"""What is not text, does not fit or is damaged."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizer_native import ENCODE, KEEP_BYTES, PARSE_SPECIAL, aligned, open_blob

from edgeq.tokenizer import compile_tokenizer

DAMAGED, USAGE = 6, 2
QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
PIECES = st.lists(
    st.one_of(st.binary(max_size=4), st.text(max_size=3).map(lambda t: t.encode("utf-8", "surrogatepass")))
)


@pytest.mark.parametrize("name", ["gpt2", "llama2", "xlm_roberta", "wordpiece"])
def test_ill_formed_bytes_are_replaced_as_python_does(name: str, both: Any) -> None:
    tokenizer, c = both(name)

    @settings(max_examples=200, **QUIET)
    @given(PIECES)
    def check(pieces: list[bytes]) -> None:
        data = b"".join(pieces)
        assert c.encode(data) == tokenizer.encode(data.decode(errors="replace")).ids

    check()


def test_chat_prints_whole_characters(both: Any) -> None:
    tokenizer, c = both("gpt2")
    ids = tokenizer.encode("naïve 你好 🙂 क्षि").ids
    printed = b""
    for n in range(1, len(ids) + 1):
        text = c.decode_bytes(ids[:n], KEEP_BYTES)
        whole = text[: len(text) - c.c.edgeq_incomplete_utf8(text, ctypes.c_size_t(len(text)))]
        whole.decode()
        assert whole.startswith(printed)
        printed = whole
    assert printed.decode() == tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("text", "count"),
    [(b"", 0), (b"a", 0), ("é".encode(), 0), ("é".encode()[:1], 1), ("中".encode()[:2], 2), ("🙂".encode()[:3], 3),
     (b"a\xf0\x9f", 2), (b"\x9f\x99\x82", 0), (b"\xff", 0), (b"\xe0\x80", 0), (b"\xc3\xa9\x80", 0)],
)  # fmt: skip
def test_incomplete_characters(text: bytes, count: int, c_library: ctypes.CDLL) -> None:
    assert c_library.edgeq_incomplete_utf8(text, ctypes.c_size_t(len(text))) == count


def test_counts_do_not_depend_on_room(both: Any) -> None:
    tokenizer, c = both("gpt2")
    data = b"one two three four"
    ids = np.full(8, -7, dtype=np.int32)
    place = ctypes.c_void_p(ids.ctypes.data)
    wanted = tokenizer.encode(data.decode()).ids
    count = c.c.edgeq_tokenize(c.handle, data, ctypes.c_size_t(len(data)), ENCODE, place, ctypes.c_size_t(2))
    assert count == len(wanted) and ids.tolist() == [*wanted[:2], *[-7] * 6]
    text = ctypes.create_string_buffer(b"------", 6)
    given_ids = np.array(wanted, dtype=np.int32)
    args = (c.handle, ctypes.c_void_p(given_ids.ctypes.data), ctypes.c_size_t(len(wanted)), 0)
    assert (
        c.c.edgeq_detokenize(*args, text, ctypes.c_size_t(3)) == len(tokenizer.decode(wanted)) and text.raw == b" on---"
    )
    assert c.c.edgeq_tokenize(None, data, ctypes.c_size_t(1), PARSE_SPECIAL, place, ctypes.c_size_t(2)) == -USAGE


def test_refuses_what_is_no_blob(both: Any, c_library: ctypes.CDLL) -> None:
    tokenizer, _ = both("wordpiece")
    blob, handle = compile_tokenizer(tokenizer.to_str().encode()), ctypes.c_void_p()
    for damaged in (blob[:-64], blob[:100], b"", b"X" + blob[1:], blob[:8] + b"\x02" + blob[9:]):
        assert open_blob(c_library, aligned(damaged + bytes(64)), len(damaged), handle) == DAMAGED and not handle
    assert open_blob(c_library, aligned(b"x" + blob)[1:], len(blob), handle) == USAGE


def test_a_damaged_header_never_reads_outside(both: Any, c_library: ctypes.CDLL) -> None:
    tokenizer, _ = both("gpt2")
    blob, handle = compile_tokenizer(tokenizer.to_str().encode()), ctypes.c_void_p()

    @settings(max_examples=200, **QUIET)
    @given(st.integers(0, 239), st.integers(0, 255))
    def check(at: int, value: int) -> None:
        memory = aligned(blob[:at] + bytes([value]) + blob[at + 1 :])
        if open_blob(c_library, memory, len(blob), handle) == 0:
            c_library.edgeq_tokenizer_close(handle)

    check()

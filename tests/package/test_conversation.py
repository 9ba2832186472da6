"""The program's C renders conversations as `Conversation.render` does, which is as Jinja does."""

from __future__ import annotations

import random
import struct
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from templates import CHATML, GEMMA, PUBLISHED, SWITCHED, TOKENS, TRIMMED_THOUGHTS

from edgeq.lower.toolchain import RUNTIME, cc
from edgeq.package.conversation import voice
from edgeq.package.facts import encode
from edgeq.package.programs import APP
from edgeq.package.segments import conversation_of, facts
from edgeq.package.template import Template

Talk = tuple[str, list[str]]
PIECES = (
    "", " ", "\n", "a", "  two ", "\ttab\t", "\x1c\x85", "\u00a0\u1680\u2028wide\u3000", "naïve 你好 🙂",
    "</think>\n\nb", "</think>",
    "<think>c", "\u200bzero width\ufeff", "\r\n", "x" * 300,
)  # fmt: skip


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("render") / "render"
    parts = (APP / f"{name}.c" for name in ("conversation", "facts", "utf8", "buffer", "say"))
    sources = [Path(__file__).with_name("render.c"), *parts]
    flags = ["-std=gnu11", "-g", "-fsanitize=undefined", "-fsanitize-trap=undefined", "-static"]
    cc("x86_64-linux-musl", [*flags, f"-I{APP}", f"-I{RUNTIME}", *map(str, sources), "-o", str(out)], "render")
    return out


def rendered(program: Path, source: str, talks: list[Talk], folder: Path) -> list[tuple[int, str]]:
    """Status and text of each conversation, by the C code."""
    (folder / "facts").write_bytes(encode({"chat": facts(conversation_of(Template(source, TOKENS)))}))
    data = b"".join(_record([system, *talk]) for system, talk in talks)
    out = subprocess.run([program, folder / "facts"], input=data, capture_output=True, check=True).stdout
    found = []
    while out:
        status, size = struct.unpack_from("<iI", out)
        found.append((status, out[8 : 8 + size].decode()))
        out = out[8 + size :]
    return found


def _record(texts: list[str]) -> bytes:
    parts = [struct.pack("<I", len(data)) + data for data in (text.encode() for text in texts)]
    return struct.pack("<I", len(texts)) + b"".join(parts)


def some_talks(has_system: bool, count: int = 150) -> list[Talk]:
    draw = random.Random(1)

    def text() -> str:
        return "".join(draw.choices(PIECES, k=draw.randint(1, 3)))

    return [(text() if has_system and draw.random() < 0.5 else "", [text() for _ in range(2 * draw.randint(1, 5) - 1)])
            for _ in range(count)]  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_c_renders_as_jinja_does(program: Path, tmp_path: Path, name: str) -> None:
    template = Template(PUBLISHED[name], TOKENS)
    talks = some_talks(has_system=PUBLISHED[name] is not GEMMA)
    before = datetime.now()
    found = rendered(program, PUBLISHED[name], talks, tmp_path)
    conversation = conversation_of(template)
    for (system, talk), (status, rendering) in zip(talks, found, strict=True):
        segments = conversation.system if system else conversation.bare
        assert segments is not None
        said = [(voice(i, len(talk)), text) for i, text in enumerate(talk)] + [("system", system)] * bool(system)
        taken = all(segments.content[who].takes(text) for who, text in said)
        assert status == (0 if taken else 2)
        if not taken:
            continue
        days = {template.render(talk, system, day.strftime) for day in (before, datetime.now())}  # midnight may pass
        assert rendering in days


def test_what_a_template_has_no_segments_for_is_refused(program: Path, tmp_path: Path) -> None:
    assert rendered(program, GEMMA, [("be kind", ["a"])], tmp_path)[0][0] == 2
    found = rendered(program, SWITCHED, [("no /no_think here", ["a"]), ("be kind", ["/no_think"])], tmp_path)
    assert [status for status, _ in found] == [2, 0]
    assert rendered(program, TRIMMED_THOUGHTS, [("", ["a", "b</think>\n", "c"])], tmp_path)[0][0] == 2


def test_a_conversation_may_hold_zero_bytes(program: Path, tmp_path: Path) -> None:
    ((status, text),) = rendered(program, CHATML, [("", ["a\0b"])], tmp_path)
    assert status == 0 and "a\0b" in text

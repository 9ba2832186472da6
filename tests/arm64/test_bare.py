"""What stands in for libc in libraries for Android does what glibc does, as far as the runtime uses it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from loaders import HERE, glibc
from qemu import available, qemu

from edgeq.lower.android import BARE, COMPILE, TRIPLE
from edgeq.lower.toolchain import CFLAGS, RUNTIME, cc

pytestmark = pytest.mark.skipif(not available(), reason="no qemu-aarch64: run .ci/install-qemu")


def test_it_is_glibc_in_small(tmp_path: Path) -> None:
    library, program = tmp_path / "bare.so", tmp_path / "check"
    shared = ["-fvisibility=default", "-shared", "-Wl,-Bsymbolic", "-Wl,--no-undefined", "-o", str(library)]
    cc(TRIPLE, [*CFLAGS, *COMPILE, *shared, *map(str, sorted(BARE.glob("*.c")))], "bare.so")
    options = ["-O1", "-g0", "-std=gnu11", "-Wno-format", "-fno-sanitize=undefined", "-ldl", "-pthread"]
    cc("aarch64-linux-gnu.2.28", [*options, str(HERE / "bare_check.c"), "-o", str(program)], "bare_check")
    call = [*qemu("cortex-a72"), "-L", glibc(), str(program), str(library), str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_runtime_prints_and_reads_nothing_else() -> None:
    """A conversion that format.c and scan.c lack would be printed as it stands, or read as nothing."""
    texts = [text for file in RUNTIME.glob("*.c") for text in re.findall(r'"(?:[^"\\]|\\.)*"', file.read_text())]
    conversions = {c for text in texts for c in re.findall(r"%[^a-zA-Z%]*(?:ll?|z)?[a-zA-Z%]", text)}
    assert {"%s", "%d"} <= conversions
    known = re.compile(r"%(?:0?\d*(?:ll?|z)?[diux]|c|%|(?:\.(?:\*|\d+))?s)")
    assert not [c for c in conversions if not known.fullmatch(c)]

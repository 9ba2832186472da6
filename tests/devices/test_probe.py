"""The probe itself: hashes, rates, the guard."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
import xxhash
from sleeper import Sleeper, soon

from edgeq.devices.programs import NATIVE, TRIPLES, probe
from edgeq.errors import TargetError
from edgeq.lower.toolchain import CFLAGS, cc

HERE = os.uname().machine


def run(*words: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run([probe(HERE), *map(str, words)], capture_output=True, check=False, **options)


def test_it_needs_no_library():
    told = subprocess.run(["ldd", probe(HERE)], capture_output=True, text=True, check=False)
    assert "not a dynamic executable" in told.stderr or "statically linked" in told.stdout


def test_hashes(tmp_path):
    files = []
    for size in (0, 1, 31, 32, 100_003):
        files.append(tmp_path / f"{size} bytes")
        files[-1].write_bytes(os.urandom(size))
    lines = run("hash", *files, tmp_path / "absent", tmp_path).stdout.decode().splitlines()
    assert lines == [f"{xxhash.xxh64(f.read_bytes()).hexdigest()} {f.stat().st_size} {f}" for f in files] + [
        f"- - {tmp_path / 'absent'}",
        f"- - {tmp_path}",
    ]


def test_rates_are_of_threads_from_one_on():
    rates = json.loads(run("rates").stdout)
    assert [rate["threads"] for rate in rates["bandwidth"]][:1] == [1]
    assert all(rate["bytes_per_s"] > 1e6 and rate["buffer_bytes"] >= 1 << 20 for rate in rates["bandwidth"])
    assert all(rate["ops_per_s"] > 1e6 and rate["instruction"] for rate in rates["int8"])


def test_the_guard_hands_on_status_and_output():
    with subprocess.Popen(
        [probe(HERE), "guard", "60", "/bin/sh", "-c", "echo out; echo err >&2; exit 7"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout.read() == b"out\n"
        assert process.stderr.read() == b"err\n\nedgeq-guard: exit 7\n"
    assert process.returncode == 7


def test_the_guard_tells_a_signal():
    with subprocess.Popen(
        [probe(HERE), "guard", "60", "/bin/sh", "-c", "kill -SEGV $$"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr.read().endswith(b"edgeq-guard: exit 139\n")


@pytest.mark.parametrize("how", ["end of stdin", "killed"])
def test_the_guard_ends_its_program(tmp_path, how):
    sleeper = Sleeper(tmp_path)
    with subprocess.Popen(
        [probe(HERE), "guard", "300", sleeper.program], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert soon(sleeper.started)
        if how == "killed":
            process.kill()
        process.stdin.close()
        said = process.stderr.read()
    assert soon(lambda: not sleeper.alive())
    assert (b"edgeq-guard: link" in said) == (how == "end of stdin")


def test_a_silent_host_is_a_cut_link(tmp_path):
    """A cable was pulled: nobody closed anything, but nothing comes any more."""
    main = tmp_path / "main.c"
    main.write_text(
        '#include "native.h"\nint main(int n, char **words) { return n > 1 ? guard(300, words + 1) : 2; }\n'
    )
    flags = [*CFLAGS, "-static", f"-I{NATIVE}", "-DSILENCE_S=3.0", str(main), str(NATIVE / "guard.c")]
    cc(TRIPLES[HERE], [*flags, "-o", str(tmp_path / "guard")], "building a test")
    sleeper = Sleeper(tmp_path)
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([tmp_path / "guard", sleeper.program], **pipes) as process:
        for _ in range(8):
            process.stdin.write(b"\n")
            process.stdin.flush()
            time.sleep(0.5)
        assert process.poll() is None, "it listened longer than it waits in silence"
        assert b"edgeq-guard: link 137" in process.stderr.read()
    assert not sleeper.alive()


def test_a_machine_without_a_target_is_refused():
    with pytest.raises(TargetError, match="the device is armv7l; edgeq measures on x86_64, aarch64"):
        probe("armv7l")

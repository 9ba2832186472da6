"""Waiting for a hot device to cool: the C of the measuring program, on files that stand for /sys."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from edgeq.devices.programs import NATIVE, TRIPLES
from edgeq.lower.toolchain import CFLAGS, cc

MAIN = """
#include "native.h"
#include <stdlib.h>
/* Starts, hands over to the test's command, cools down, says what happened. */
int main(int argc, char **argv)
{
  cooling heat;
  json j = {0};
  cooling_start(&heat, atof(argv[1]));
  if (argc > 2 && system(argv[2])) return 1;
  int waited = cool_down(&heat) | cool_down(&heat); /* the second comes too soon to look again */
  json_open(&j, NULL, '{');
  json_flag(&j, "waited", waited);
  print_cooling(&j, &heat);
  json_close(&j, '}');
  return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads `zones/` of its working folder instead of /sys/class/thermal."""
    folder = tmp_path_factory.mktemp("thermal")
    (folder / "main.c").write_text(MAIN)
    sources = [folder / "main.c", *(NATIVE / f"{name}.c" for name in ("thermal", "files", "json"))]
    flags = [*CFLAGS, "-static", f"-I{NATIVE}", '-DZONES="zones/*"', *map(str, sources), "-lm"]
    cc(TRIPLES[os.uname().machine], [*flags, "-o", str(folder / "main")], "building a test")
    return folder / "main"


def zone(folder: Path, kind: str, millidegrees: int) -> Path:
    path = folder / "zones" / kind
    path.mkdir(parents=True)
    (path / "type").write_text(f"{kind}\n")
    (path / "temp").write_text(f"{millidegrees}\n")
    return path / "temp"


def cool(program: Path, folder: Path, limit_s: float, *shell: str) -> dict:
    done = subprocess.run([program, str(limit_s), *shell], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_it_waits_until_it_is_as_cool_as_before(program, tmp_path):
    temp = zone(tmp_path, "cpu-thermal", 40000)
    heat = f"echo 70000 > {temp}; (sleep 0.2; echo 40500 > {temp}) &"
    told = cool(program, tmp_path, 60, heat)
    found = told["temperature"]
    assert told["waited"]
    assert (found["start_celsius"], found["highest_celsius"], found["end_celsius"]) == (40, 70, 40.5)
    assert found["cool"] and 0 < found["waited_seconds"] < 60


def test_it_waits_no_longer_than_allowed_and_says_so(program, tmp_path):
    temp = zone(tmp_path, "cpu-thermal", 40000)
    found = cool(program, tmp_path, 0.5, f"echo 70000 > {temp}")["temperature"]
    assert not found["cool"] and found["end_celsius"] == 70


def test_of_several_zones_the_processors_count(program, tmp_path):
    zone(tmp_path, "cpu0", 40000)
    zone(tmp_path, "cpu1", 42000)
    zone(tmp_path, "battery", 90000)
    zone(tmp_path, "cpu-off", -274000)
    assert cool(program, tmp_path, 1)["temperature"]["start_celsius"] == 42


def test_without_a_readable_zone_nothing_is_claimed(program, tmp_path):
    assert cool(program, tmp_path, 1) == {"waited": False}

"""The C programs that run on a device, static executables built once into the user's cache."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edgeq.errors import TargetError
from edgeq.lower.link import KERNELS, SOURCE, link_program
from edgeq.lower.objects import cache_folder
from edgeq.lower.toolchain import CFLAGS, RUNTIME, cc

NATIVE = Path(__file__).with_name("native")
BANDWIDTH = Path(__file__).resolve().parent.parent / "measure" / "bandwidth.c"
COMMON = ("files", "thermal", "statistics", "read_rate", "json")
PROBE = tuple(NATIVE / f"{name}.c" for name in ("probe", "facts", "hash", "sweep", "guard", "peak", *COMMON))
RUNNER = tuple(NATIVE / f"{name}.c" for name in ("runner", "repeat", "speed", "latency", "regions", *COMMON))
# Of the runtime, a probe needs what looks at the CPU; what else stands in these files is dropped by the linker.
RUNTIME_OF_PROBE = tuple(RUNTIME / f"{name}.c" for name in ("cpu", "cores", "xxh64"))
PROBE_FLAGS = ("-static", "-s", "-ffunction-sections", "-Wl,--gc-sections", "-lm")
TRIPLES = {"x86_64": "x86_64-linux-musl", "aarch64": "aarch64-linux-musl"}
TARGETS = {"x86_64": "x86-64", "aarch64": "arm64"}


def target_of(arch: str) -> str:
    """Name of the target that runs on a machine whose `uname -m` is `arch`; TargetError when edgeq has none."""
    if arch not in TARGETS:
        known = ", ".join(TARGETS)
        raise TargetError(f"the device is {arch or 'unknown'}; edgeq measures on {known} with Linux or Android")
    return TARGETS[arch]


def probe(arch: str) -> Path:
    """The probe for `uname -m` = `arch`: facts, rates, hashes, guarding runs. TargetError for any other machine."""
    target_of(arch)
    sources = [*PROBE, *RUNTIME_OF_PROBE, BANDWIDTH]

    def build(out: Path) -> None:
        cc(TRIPLES[arch], [*CFLAGS, *PROBE_FLAGS, f"-I{RUNTIME}", *map(str, sources), "-o", str(out)], "building probe")

    return _cached("probe", _hash([*sources, *_headers()], [arch, *PROBE_FLAGS]), build)


def runner(artifact: Path) -> Path:
    """The measuring program of an artifact, for its target, without its weights.

    Raises ArtifactError for one that cannot be linked again, ToolchainError when the compiler fails.
    """
    sources = [*RUNNER, BANDWIDTH]
    parts = [artifact / SOURCE, artifact / KERNELS]
    key = _hash([*sources, *_headers(), *sorted(RUNTIME.glob("*.c")), *(p for p in parts if p.exists())], CFLAGS)
    return _cached("runner", key, lambda out: link_program(artifact, sources, out))


def _headers() -> list[Path]:
    return [*sorted(NATIVE.glob("*.h")), *sorted(RUNTIME.glob("*.h"))]


def _hash(files: Iterable[Path], words: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(words).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def _cached(name: str, key: str, build: Callable[[Path], None]) -> Path:
    built = cache_folder() / "devices" / key / name
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            fresh = Path(folder) / name
            build(fresh)
            fresh.replace(built)  # atomic: another process may be making the same file
    return built

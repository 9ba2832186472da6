"""Profile an artifact: speeds, time to the first token, memory, and where each entry's time goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgeq.artifact.manifest import read
from edgeq.errors import UsageError
from edgeq.measure import memory
from edgeq.measure.bandwidth import Bandwidth, read_bandwidth
from edgeq.measure.machine import this_machine
from edgeq.measure.operations import Operation, operations
from edgeq.measure.speed import decode_rate, first_token_seconds, prefill_rate
from edgeq.measure.spread import LEAST, Spread, repeat
from edgeq.runtime.loader import Profile, Session

SCHEMA_VERSION = 1
FIRST_TOKEN_PROMPT = 128
FIRST = "first_token_seconds"
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        prefill: prompt lengths in tokens. decode: tokens decoded one by one.
        budget_s: seconds a measurement may repeat, beyond `repeats` runs, until it is stable.
        repeats: least number of runs of each measurement.
        threads: 0 is one for each usable core. variant: instruction-set variant to force.
    """

    prefill: tuple[int, ...] = (512, 128)
    decode: int = 128
    budget_s: float = 15.0
    repeats: int = LEAST
    threads: int = 0
    variant: str | None = None


def profile(path: str | Path, settings: Settings | None = None, progress: Report | None = None) -> dict[str, Any]:
    """Measure the artifact at `path` on this machine; the object that `edgeq profile --json` prints.

    Bandwidth is measured before and after the model, and the better of the two is the ceiling.
    Raises UsageError when the context is shorter than what should be measured, and as `Session`.
    """
    settings = settings or Settings()
    manifest = read(Path(path)).to_json()
    _check_lengths(settings, manifest["memory"]["context"])
    say = progress or (lambda stage, done, total: None)
    # Before the model is opened and after its memory was read: the buffer is no part of the model.
    ceiling = _bandwidth(settings.threads or this_machine().cores, None, say)
    before, load_s, session = _open(path, settings)
    with session:
        speeds = _speeds(session, settings, say)
        entries = _entries(session, manifest, settings, say)
        resident = _resident(before)
        ceiling = _bandwidth(session.info.threads, ceiling, say)
        return _report(path, manifest, session, load_s, speeds, entries, resident, ceiling)


def _check_lengths(settings: Settings, context: int) -> None:
    if not settings.prefill or min(*settings.prefill, settings.decode, settings.repeats) < 1:
        raise UsageError("give at least one prompt length, and at least 1 token and 1 repeat of each")
    longest = max(*settings.prefill, settings.decode)
    if longest > context:
        raise UsageError(f"{longest} tokens do not fit the artifact's context of {context}; measure fewer")


def _open(path: str | Path, settings: Settings) -> tuple[int, float, Session]:
    """(resident bytes before, seconds to open, session)."""
    memory.reset_peak()
    before = memory.resident_bytes()
    start = time.perf_counter()
    session = Session(path, threads=settings.threads, variant=settings.variant)
    return before, time.perf_counter() - start, session


def _bandwidth(threads: int, earlier: Bandwidth | None, say: Report) -> Bandwidth:
    say("read bandwidth", 0, 0)
    now = read_bandwidth(threads)
    return max(now, earlier or now, key=lambda b: b.bytes_per_s)


def _speeds(session: Session, settings: Settings, say: Report) -> dict[str, Spread]:
    lengths = sorted({*settings.prefill}, reverse=True)
    runs: dict[str, Callable[[], float]] = {f"prefill_{n}": partial(prefill_rate, session, n) for n in lengths}
    runs[f"decode_{settings.decode}"] = partial(decode_rate, session, settings.decode)
    runs[FIRST] = partial(first_token_seconds, session, min(FIRST_TOKEN_PROMPT, session.info.context))
    results = {}
    for i, (name, run) in enumerate(runs.items()):
        say("measure", i, len(runs))
        run()  # warm up: pages of the weights, caches, clock
        results[name] = repeat(run, settings.budget_s, settings.repeats)
    return results


def _entries(
    session: Session, manifest: dict[str, Any], settings: Settings, say: Report
) -> dict[str, list[Operation]]:
    names = [entry.name for entry in session.entries]
    runs: dict[str, list[Profile]] = {name: [] for name in names}
    for i in range(settings.repeats):
        say("time each region", i, settings.repeats)
        session.profile_start()
        decode_rate(session, settings.decode)
        prefill_rate(session, max(settings.prefill))
        for name in names:
            runs[name].append(session.profile(name))
    session.profile_stop()
    return {e["name"]: operations(e["regions"], runs[e["name"]]) for e in manifest["entries"]}


def _resident(before: int) -> dict[str, int]:
    peak = memory.peak_resident_bytes()
    return {"process_peak_bytes": peak, "artifact_bytes": max(0, peak - before)}


def _report(
    path: str | Path,
    manifest: dict[str, Any],
    session: Session,
    load_s: float,
    speeds: dict[str, Spread],
    entries: dict[str, list[Operation]],
    resident: dict[str, int],
    ceiling: Bandwidth,
) -> dict[str, Any]:
    machine = this_machine()
    first = speeds.pop(FIRST)
    decode = next(rate for name, rate in speeds.items() if name.startswith("decode"))
    token_bytes = sum(op.weight_bytes for op in entries["decode"])
    return {
        "schema_version": SCHEMA_VERSION,
        "path": str(path),
        "model": manifest["model"],
        "bits": manifest["bits"],
        "variant": session.info.variant,
        "threads": session.info.threads,
        "machine": {"cpu": machine.cpu, "cores": machine.cores, "memory_bytes": machine.memory_bytes},
        "load_seconds": load_s,
        "first_token": {"prompt_tokens": min(FIRST_TOKEN_PROMPT, session.info.context), **_seconds(first)},
        "tokens_per_second": {name: asdict(rate) for name, rate in speeds.items()},
        "resident": resident,
        "bandwidth": asdict(ceiling),
        "decode_weight_bytes": token_bytes,
        "decode_bytes_per_s": token_bytes * decode.median,
        "decode_share_of_bandwidth": token_bytes * decode.median / ceiling.bytes_per_s,
        "entries": {name: [_operation(op, ops, ceiling) for op in ops] for name, ops in entries.items()},
    }


def _seconds(spread: Spread) -> dict[str, float]:
    return {"seconds_median": spread.median, "seconds_mean": spread.mean, "seconds_stdev": spread.stdev}


def _operation(op: Operation, all_ops: list[Operation], ceiling: Bandwidth) -> dict[str, Any]:
    total = sum(other.us for other in all_ops)
    return {
        **asdict(op),
        "share_of_time": op.us / total if total else 0.0,
        "bytes_per_s": op.bytes_per_s,
        "share_of_bandwidth": op.bytes_per_s / ceiling.bytes_per_s,
    }

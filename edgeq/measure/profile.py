"""Profile an artifact: speeds, latencies, time to the first token, memory, and where each entry's time goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgeq.artifact.manifest import read
from edgeq.errors import UsageError
from edgeq.measure import memory
from edgeq.measure.bandwidth import Bandwidth, read_bandwidth
from edgeq.measure.heat import Cooling
from edgeq.measure.latency import Latency, latency, write_inputs
from edgeq.measure.machine import this_machine
from edgeq.measure.operations import Operation, operations
from edgeq.measure.report import FIRST, FIRST_TOKEN_PROMPT, Measured, Setting, report
from edgeq.measure.speed import decode_rate, first_token_seconds, prefill_rate
from edgeq.measure.spread import LEAST, Spread, repeat
from edgeq.runtime.loader import Profile, Session, check_target

PREFILL, DECODE = (512, 128), 128
IN_PROCESS = "in this process"
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        prefill: prompt lengths in tokens; None: 512 and 128, as far as they fit.
        decode: tokens decoded one by one; None: 128, or what fits. Models without token entries take neither.
        budget_s: seconds a measurement may repeat, beyond `repeats` runs, until it is stable.
        repeats: least number of runs of each measurement.
        threads: 0 is one for each usable core. variant: instruction-set variant to force.
        cool_s: seconds that all waits for a hot device to cool may take together.
    """

    prefill: tuple[int, ...] | None = None
    decode: int | None = None
    budget_s: float = 15.0
    repeats: int = LEAST
    threads: int = 0
    variant: str | None = None
    cool_s: float = 120.0


def profile(path: str | Path, settings: Settings | None = None, progress: Report | None = None) -> dict[str, Any]:
    """Measure the artifact at `path` on this machine; the object that `edgeq profile --json` prints.

    Bandwidth is measured before and after the model, and the better of the two is the ceiling.
    Raises UsageError when the context is shorter than what should be measured, and as `Session`.
    """
    manifest = read(Path(path)).to_json()
    check_target(Path(path), manifest["target"])
    settings = fitting(settings or Settings(), manifest)
    say = progress or (lambda stage, done, total: None)
    # Before the model is opened and after its memory was read: the buffer is no part of the model.
    ceiling = _bandwidth(settings.threads or this_machine().cores, None, say)
    heat = Cooling(settings.cool_s)
    before, load_s, session = _open(path, settings)
    with session:
        latencies = _latencies(session, settings, heat, say)
        speeds = _speeds(session, settings, heat, say)
        entries = _entries(session, manifest, settings, heat, say)
        resident = _resident(before)
        ceiling = _bandwidth(session.info.threads, ceiling, say)
        measured = Measured(load_s, speeds, latencies, entries, resident, ceiling, heat.report())
        return report(path, manifest, _setting(session), measured)


def fitting(settings: Settings, manifest: dict[str, Any]) -> Settings:
    """The settings with what was left open chosen; raises UsageError for what cannot be measured."""
    context = manifest["memory"]["context"]
    names = {entry["name"] for entry in manifest["entries"]}
    prefill, decode = settings.prefill, settings.decode
    if prefill == () or min(prefill or (1,)) < 1 or decode == 0 or settings.repeats < 1:
        raise UsageError("give at least one prompt length, and at least 1 token and 1 repeat of each")
    if "decode" not in names and (prefill or decode):
        raise UsageError("this model takes no tokens: leave out --prefill and --decode")
    if prefill and "prefill" not in names:
        raise UsageError("this model has no prefill entry: leave out --prefill")
    longest = max(decode or 0, *(prefill or (0,)))
    if longest > context:
        raise UsageError(f"{longest} tokens do not fit the artifact's context of {context}; measure fewer")
    if "prefill" in names and prefill is None:
        prefill = tuple(n for n in PREFILL if n <= context) or (context,)
    return replace(settings, prefill=prefill or (), decode=decode or min(DECODE, context))


def _setting(session: Session) -> Setting:
    info, machine = session.info, this_machine()
    device = {"spec": "local", "how": IN_PROCESS}
    return Setting(info.variant, info.threads, info.context, machine.cpu, machine.cores, machine.memory_bytes, device)


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


def _latencies(session: Session, settings: Settings, heat: Cooling, say: Report) -> dict[str, Latency]:
    """Of every static entry; a decoder needs them to have run."""
    entries = [entry for entry in session.entries if entry.kind == "static"]
    for entry in entries:
        write_inputs(session, entry)
    results = {}
    for i, entry in enumerate(entries):
        say("time static entries", i, len(entries))
        results[entry.name] = latency(session, entry.name, settings.budget_s, settings.repeats, heat.clock, heat.wait)
    return results


def _speeds(session: Session, settings: Settings, heat: Cooling, say: Report) -> dict[str, Spread]:
    runs: dict[str, Callable[[], float]] = {}
    for n in sorted({*(settings.prefill or ())}, reverse=True):
        runs[f"prefill_{n}"] = partial(prefill_rate, session, n)
    if settings.decode:
        runs[f"decode_{settings.decode}"] = partial(decode_rate, session, settings.decode)
    if settings.prefill:
        runs[FIRST] = partial(first_token_seconds, session, min(FIRST_TOKEN_PROMPT, session.info.context))
    results = {}
    for i, (name, run) in enumerate(runs.items()):
        say("time token entries", i, len(runs))
        run()  # warm up: pages of the weights, caches, clock
        results[name] = repeat(run, settings.budget_s, settings.repeats, heat.clock, heat.wait)
    return results


def _entries(
    session: Session, manifest: dict[str, Any], settings: Settings, heat: Cooling, say: Report
) -> dict[str, list[Operation]]:
    names = [entry.name for entry in session.entries]
    runs: dict[str, list[Profile]] = {name: [] for name in names}
    for i in range(settings.repeats):
        say("time each region", i, settings.repeats)
        if heat.wait():
            _walk_all(session, settings)
        session.profile_start()
        _walk_all(session, settings)
        for name in names:
            runs[name].append(session.profile(name))
    session.profile_stop()
    return {e["name"]: operations(e["regions"], runs[e["name"]]) for e in manifest["entries"]}


def _walk_all(session: Session, settings: Settings) -> None:
    for entry in session.entries:
        if entry.kind == "static":
            session.run(entry.name, copy=False)
    if settings.decode:
        decode_rate(session, settings.decode)
    if settings.prefill:
        prefill_rate(session, max(settings.prefill))


def _resident(before: int) -> dict[str, int]:
    peak = memory.peak_resident_bytes()
    return {"process_peak_bytes": peak, "artifact_bytes": max(0, peak - before)}

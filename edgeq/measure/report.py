"""What `edgeq profile --json` prints, from what was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeq.measure.bandwidth import Bandwidth
from edgeq.measure.latency import Latency
from edgeq.measure.operations import Operation
from edgeq.measure.spread import STABLE, Spread, deviation

SCHEMA_VERSION = 2
FIRST_TOKEN_PROMPT = 128
FIRST = "first_token_seconds"


@dataclass(frozen=True)
class Setting:
    """Where and how a model was measured.

    Attributes:
        variant, threads, context: of the open model. cpu, cores, memory_bytes: of the machine.
        device: its spec, how the model ran there, and whatever else is known of it.
    """

    variant: str
    threads: int
    context: int
    cpu: str
    cores: int
    memory_bytes: int
    device: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """Measurements of one open model.

    Attributes:
        load_s: seconds to open it. speeds: tokens a second by `prefill_N`, `decode_N`; seconds under FIRST.
        latencies: of static entries. entries: operations of every entry. resident: bytes. ceiling: read bandwidth.
        temperature: as `Cooling.report`; None: unreadable.
    """

    load_s: float
    speeds: dict[str, Spread]
    latencies: dict[str, Latency]
    entries: dict[str, list[Operation]]
    resident: dict[str, int]
    ceiling: Bandwidth
    temperature: dict[str, Any] | None


def report(path: str | Path, manifest: dict[str, Any], setting: Setting, measured: Measured) -> dict[str, Any]:
    """The object. Of what a model has no entry for, `latency` and rates are {}, `first_token` and `decode_*` None."""
    rates = {name: rate for name, rate in measured.speeds.items() if name != FIRST}
    return {
        "schema_version": SCHEMA_VERSION,
        "path": str(path),
        "model": manifest["model"],
        "bits": manifest["bits"],
        "device": setting.device,
        "variant": setting.variant,
        "threads": setting.threads,
        "machine": {"cpu": setting.cpu, "cores": setting.cores, "memory_bytes": setting.memory_bytes},
        "load_seconds": measured.load_s,
        "first_token": _first_token(measured, setting.context),
        "tokens_per_second": {name: asdict(rate) for name, rate in rates.items()},
        "latency": {name: _latency(name, found, measured) for name, found in measured.latencies.items()},
        "resident": measured.resident,
        "temperature": measured.temperature,
        "bandwidth": asdict(measured.ceiling),
        **_decode(rates, measured),
        "entries": {
            name: [_operation(op, ops, measured.ceiling) for op in ops] for name, ops in measured.entries.items()
        },
    }


def _first_token(measured: Measured, context: int) -> dict[str, Any] | None:
    spread = measured.speeds.get(FIRST)
    if spread is None:
        return None
    seconds = {"seconds_median": spread.median, "seconds_mean": spread.mean, "seconds_stdev": spread.stdev}
    return {"prompt_tokens": min(FIRST_TOKEN_PROMPT, context), **seconds}


def _latency(name: str, found: Latency, measured: Measured) -> dict[str, Any]:
    """Rates are at the median; a run reads every weight once, wherever it lies: small models stay in the caches."""
    weight_bytes = sum(op.weight_bytes for op in measured.entries[name])
    ops = sum(op.ops for op in measured.entries[name])
    return {
        **{f"{key}_seconds": getattr(found, key) for key in ("p50", "p90", "best", "mean")},
        "runs": len(found.samples),
        "stable": deviation(found.samples) <= STABLE * found.mean,
        "runs_per_second": found.runs_per_s,
        "weight_bytes": weight_bytes,
        "bytes_per_s": weight_bytes / found.p50,
        "share_of_bandwidth": weight_bytes / found.p50 / measured.ceiling.bytes_per_s,
        "multiply_adds": ops,
        "ops_per_s": 2 * ops / found.p50,
    }


def _decode(rates: dict[str, Spread], measured: Measured) -> dict[str, Any]:
    rate = next((rate.median for name, rate in rates.items() if name.startswith("decode")), None)
    if rate is None:
        return {"decode_weight_bytes": None, "decode_bytes_per_s": None, "decode_share_of_bandwidth": None}
    token_bytes = sum(op.weight_bytes for op in measured.entries["decode"])
    return {
        "decode_weight_bytes": token_bytes,
        "decode_bytes_per_s": token_bytes * rate,
        "decode_share_of_bandwidth": token_bytes * rate / measured.ceiling.bytes_per_s,
    }


def _operation(op: Operation, all_ops: list[Operation], ceiling: Bandwidth) -> dict[str, Any]:
    total = sum(other.us for other in all_ops)
    return {
        **asdict(op),
        "share_of_time": op.us / total if total else 0.0,
        "bytes_per_s": op.bytes_per_s,
        "share_of_bandwidth": op.bytes_per_s / ceiling.bytes_per_s,
    }

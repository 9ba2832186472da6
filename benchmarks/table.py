"""Turns the rounds of one model into a Markdown table, ratios to the peers, and the commands."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import bandwidth

COLUMNS = ("decode tok/s", "of bandwidth", "prefill tok/s", "weights MB", "RSS MB", "RSS/weights", "first token s")
ALIGN = "|---|" + "---:|" * len(COLUMNS)


def median_of(rounds: list[dict], key: str) -> float | None:
    """The median of one figure, None if no round has it."""
    values = [figures[key] for figures in rounds if figures.get(key) is not None]
    return statistics.median(values) if values else None


def kept(rounds: list[dict], quiet_cores: float) -> list[dict]:
    """The rounds during which others left the machine alone; all of them if there were none."""
    return [figures for figures in rounds if figures["others_cores"] < quiet_cores] or rounds


def show(value: float | None, digits: int = 1, unit: str = "") -> str:
    """A number for a cell; a dash if it was not measured."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def share_of_bandwidth(summary: dict, gb_s: float) -> float:
    """Percent: the bytes that decoding reads a second (all weights, each token) of what memory gives."""
    return 100 * summary["decode_tok_s"] * summary["weights_bytes"] * 1e-9 / gb_s


def summarize(rounds: list[dict]) -> dict:
    """Medians of one system over its rounds; version and command as they are."""
    keys = ("decode_tok_s", "prefill_tok_s", "weights_bytes", "rss_mb", "peak_mb", "first_token_s", "others_cores")
    return {key: median_of(rounds, key) for key in keys} | {key: rounds[0][key] for key in ("version", "command")}


def row(name: str, summary: dict, gb_s: float) -> str:
    """One line of the table."""
    weights_mb = summary["weights_bytes"] * 1e-6
    cells = [
        show(summary["decode_tok_s"]),
        show(share_of_bandwidth(summary, gb_s), 0, " %"),
        show(summary["prefill_tok_s"], 0),
        show(weights_mb, 0),
        show(summary["rss_mb"], 0),
        show(summary["rss_mb"] and summary["rss_mb"] / weights_mb, 2),
        show(summary["first_token_s"], 2),
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def ratios(summaries: dict[str, dict]) -> Iterable[str]:
    """Lines comparing edgeq with the best peer and with each peer."""
    ours = next((summary for name, summary in summaries.items() if name.startswith("edgeq")), None)
    peers = {name: summary for name, summary in summaries.items() if not name.startswith("edgeq")}
    for key, what in (("decode_tok_s", "decode"), ("prefill_tok_s", "prefill")):
        measured = {name: summary[key] for name, summary in peers.items() if summary[key]}
        if not ours or not ours[key] or not measured:
            continue
        best = max(measured, key=measured.__getitem__)
        each = ", ".join(f"{ours[key] / value:.2f}x {name}" for name, value in measured.items())
        yield f"- edgeq's {what}: {ours[key] / measured[best]:.2f}x the best peer ({best}); {each}"


def render(model: str, result: dict, quiet_cores: float) -> str:
    """The whole report of one model, in Markdown."""
    gb_s = statistics.median(bandwidth.median_gb_s(measured) for measured in result["bandwidth"])
    used = {name: kept(rounds, quiet_cores) for name, rounds in result["rounds"].items() if rounds}
    summaries = {name: summarize(rounds) for name, rounds in used.items()}
    lines = [f"\n## {model}", "", "| system | " + " | ".join(COLUMNS) + " |", ALIGN]
    lines += [row(name, summary, gb_s) for name, summary in summaries.items()]
    lines += [f"\n{name}: {why}" for name, why in result["missing"].items()]
    lines += ["", f"- memory read bandwidth in this run: {gb_s:.1f} GB/s", *ratios(summaries)]
    for name, summary in summaries.items():
        rounds = f"{len(used[name])} of {len(result['rounds'][name])} rounds used"
        noise = f"others took {summary['others_cores']:.2f} cores, peak {show(summary['peak_mb'], 0)} MB"
        lines.append(f"- {name} ({summary['version']}; {rounds}; {noise}): `{summary['command']}`")
    return "\n".join(lines)

"""The Markdown of `encoders.py`."""

from __future__ import annotations

import statistics

OURS = "edgeq"
BARS = (("onnxruntime fp32", "fp32"), ("onnxruntime int8", "int8"))


def medians(results: dict) -> dict[str, dict[str, float]]:
    """System -> length -> milliseconds, the median over rounds."""
    return {
        name: {length: statistics.median(times) for length, times in lengths.items()}
        for name, lengths in results["rounds"].items()
    }


def render(results: dict) -> str:
    """The table, then edgeq's ratios to the best of each kind of peer, round by round."""
    times = medians(results)
    lengths = list(next(iter(times.values())))
    columns = [f"{length} tokens, ms" for length in lengths]
    columns += ["MB on disk", "mean cosine", "lowest", "nearest equal", "10 nearest shared"]
    lines = ["| system | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [row(name, times[name], results) for name in times]
    lines += ["", *(line for name in times if name.startswith(OURS) for line in ratios(name, results, lengths))]
    versions = sorted({facts["version"] for facts in results["facts"].values()})
    count = len(next(iter(results["rounds"].values()))[lengths[0]])
    lines += [
        f"- batch 1, {results['threads']} threads, medians of {count} rounds of {results['repeats']} runs; "
        f"others took {results['others_cores']:.2f} cores; {', '.join(versions)}"
    ]
    return "\n".join([*lines, f"- cosines and neighbours: {results['sentences']} sentences, against PyTorch fp32"])


def row(name: str, times: dict[str, float], results: dict) -> str:
    facts, close = results["facts"][name], results["accuracy"][name]
    cells = [f"{value:.2f}" for value in times.values()]
    cells += [f"{facts['bytes'] / 1e6:.1f}", f"{close['mean_cosine']:.5f}", f"{close['min_cosine']:.5f}"]
    cells += [f"{100 * close['top1']:.1f} %", f"{100 * close['top10']:.1f} %"]
    return f"| {name} | " + " | ".join(cells) + " |"


def ratios(ours: str, results: dict, lengths: list[str]) -> list[str]:
    """One line of edgeq's system against the faster of onnxruntime's two graphs of each kind; > 1: edgeq is faster."""
    rounds, parts = results["rounds"], []
    for prefix, kind in BARS:
        peers = [name for name in rounds if name.startswith(prefix)]
        for length in lengths if peers else []:
            best = min(peers, key=lambda name: statistics.median(rounds[name][length]))
            pairs = zip(rounds[best][length], rounds[ours][length], strict=True)
            parts.append(f"{statistics.median(a / b for a, b in pairs):.2f}x {kind} at {length}")
    return [f"- {ours} against onnxruntime: {', '.join(parts)}"] if parts else []

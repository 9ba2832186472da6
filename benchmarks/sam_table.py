"""The Markdown of `sam.py`."""

from __future__ import annotations

import statistics


def render(results: dict) -> str:
    """Latency a step and closeness of masks; then what compiling took."""
    lines = ["| system | image, ms | prompt, ms | mask, ms | prompt + mask against PyTorch |", "|---|" + "---:|" * 4]
    times = {n: {e: statistics.median(t) for e, t in entries.items()} for n, entries in results["rounds"].items()}
    first = next(iter(times.values()))
    for name, entry in times.items():
        gain = (first["prompt"] + first["mask"]) / (entry["prompt"] + entry["mask"])
        lines.append(f"| {name} | {entry['image']:.0f} | {entry['prompt']:.2f} | {entry['mask']:.2f} | {gain:.2f}x |")
    lines += ["", "| masks against PyTorch | largest relative error | cosine | pixels that differ | score error |"]
    lines += ["|---|" + "---:|" * 4, *(closeness(name, found) for name, found in results["masks"].items())]
    if results["compile"]:
        lines += ["", "| compile | seconds | peak memory, GB | MB on disk |", "|---|---:|---:|---:|"]
    for bits, took in results["compile"].items():
        lines.append(f"| {bits} | {took['seconds']:.0f} | {took['peak_gb']:.2f} | {took['bytes'] / 1e6:.0f} |")
    lines += [
        "",
        f"- {results['threads']} threads, medians of {len(next(iter(results['rounds'].values()))['mask'])} rounds",
    ]
    return "\n".join(lines)


def closeness(name: str, found: dict) -> str:
    differ = f"{found['pixels_differing']} of {found['pixels']}"
    error = f"{found['max_relative_error']:.1e} | {found['cosine']:.6f}"
    return f"| {name} | {error} | {differ} | {found['iou_score_error']:.1e} |"

"""What all peers share: the request and result of a round, process figures, the command line.

A round runs in its own process and prints one JSON line. A system that is not installed prints
one line on stderr and ends with NOT_INSTALLED, which the table shows as such.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

NOT_INSTALLED = 3
# Ids below the smallest vocabulary of the two models; above the control tokens, so nothing stops.
TOKEN_RANGE = (1000, 40000)
SHORT_PROMPT = 8


class NotInstalledError(Exception):
    """The system, or one of its programs, is not on this machine; the text says how to get it."""


@dataclasses.dataclass(frozen=True)
class Request:
    """One peer, one model: `prompt` and `decode` in tokens; `model` a Hugging Face folder.

    `prepared` is this peer's own file or folder; `tools` is where programs outside Python lie.
    """

    prepared: Path
    model: Path | None = None
    format: str = ""
    tools: Path | None = None
    threads: int = 1
    prompt: int = 512
    decode: int = 64
    decode_only: bool = False


@dataclasses.dataclass(frozen=True)
class Round:
    """Figures of one round: tokens a second, seconds, MB (10^6 bytes); None: not measured.

    `first_token_s` is from before the process starts to the first token of a SHORT_PROMPT;
    `rss_mb` and `peak_mb` are resident memory at the end and at its highest.
    """

    version: str
    command: str
    weights_bytes: int
    decode_tok_s: float
    prefill_tok_s: float | None = None
    first_token_s: float | None = None
    rss_mb: float | None = None
    peak_mb: float | None = None


def random_tokens(count: int, seed: int) -> list[int]:
    """`count` token ids; another seed gives another prompt, so that no prefix cache helps."""
    rng = random.Random(seed)
    return [rng.randrange(*TOKEN_RANGE) for _ in range(count)]


def resident_mb(pid: int | str = "self") -> tuple[float, float]:
    """(now, highest) resident memory of a process in MB."""
    kib = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key in ("VmRSS", "VmHWM"):
            kib[key] = int(value.split()[0])
    return kib.get("VmRSS", 0) * 1.024e-3, kib.get("VmHWM", 0) * 1.024e-3


def seconds(action: Callable[[], object]) -> float:
    """How long `action` takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def parse(argv: list[str] | None = None) -> tuple[str, float, Request]:
    """(verb, start stamp on the monotonic clock, request) from a peer's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("prepare", "round"))
    parser.add_argument("prepared", type=Path)
    for flag, kind in (("model", Path), ("tools", Path)):
        parser.add_argument(f"--{flag}", type=kind)
    for flag, default in (("threads", 1), ("prompt", 512), ("decode", 64)):
        parser.add_argument(f"--{flag}", type=int, default=default)
    parser.add_argument("--format", default="")
    parser.add_argument("--decode-only", action="store_true")
    parser.add_argument("--started-at", type=float, default=time.monotonic())
    fields = vars(parser.parse_args(argv))
    return fields.pop("verb"), fields.pop("started_at"), Request(**fields)


def main(prepare: Callable[[Request], None], run_round: Callable[[Request, float], Round]) -> None:
    """The command line of one peer: `python -m peers.NAME prepare|round PREPARED ...`."""
    verb, started_at, request = parse()
    try:
        if verb == "prepare":
            prepare(request)
        else:
            print(json.dumps(dataclasses.asdict(run_round(request, started_at))))
    except (NotInstalledError, ModuleNotFoundError) as error:
        print(f"not installed: {error}", file=sys.stderr)
        raise SystemExit(NOT_INSTALLED) from None

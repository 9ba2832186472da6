"""Calibration text for learned rounding: edgeq's own, then what the model writes itself; no data set is needed.

`python benchmarks/calibration_text.py demo:smollm2-135m OUT.txt` takes some minutes; passes then read it by `--calib`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from edgeq.calibrate.self_text import generated
from edgeq.calibrate.sources import OWN_TEXT
from edgeq.compiling.compiler import write_assets
from edgeq.frontend.source import open_model
from edgeq.runtime.tokens import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--length", type=int, default=512)
    asked = parser.parse_args()
    source = open_model(asked.model, None)
    drawn = generated(source, 0, asked.count, asked.length, lambda stage, done, total: None)
    with tempfile.TemporaryDirectory() as folder:
        write_assets(source, Path(folder))
        tokenizer = Tokenizer(folder)
        texts = [tokenizer.decode(ids) for ids in drawn]
    asked.out.write_text("\n\n".join([OWN_TEXT.read_text(encoding="utf-8"), *texts]), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Counts differences between the C tokenizer and `tokenizers`.

python tests/tokenizer/tokenizer_compare.py --lines 100000 [NAME ...]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizer_corpus import lines
from tokenizer_native import SKIP_SPECIAL, NativeTokenizer, library, native
from tokenizer_zoo import REAL, TRAINED, make


def differences(tokenizer: Any, c: NativeTokenizer, texts: Iterable[str]) -> Iterator[tuple[str, object, object]]:
    """(text, what the C gives, what `tokenizers` gives), where the two differ: ids, or text decoded from them."""
    for text in texts:
        encoded = tokenizer.encode(text)
        wanted, found = encoded.ids, c.encode(text)
        if found != wanted:
            yield text, found, wanted
            continue
        for flags, skip in ((SKIP_SPECIAL, True), (0, False)):
            back = tokenizer.decode(wanted, skip_special_tokens=skip)
            if c.decode(wanted, flags) != back:
                yield text, c.decode(wanted, flags), back


def plain_differences(tokenizer: Any, c: NativeTokenizer, texts: Iterable[str]) -> Iterator[tuple[str, object, object]]:
    """The same where special tokens in the text are plain text, and without the template."""
    tokenizer.encode_special_tokens = True
    for text in texts:
        wanted = tokenizer.encode(text, add_special_tokens=False).ids
        if c.encode(text, 0) != wanted:
            yield text, c.encode(text, 0), wanted
    tokenizer.encode_special_tokens = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[*REAL, *TRAINED])
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    texts = list(lines(options.lines, options.seed))
    print(f"{'tokenizer':12} {'lines':>7} {'differ':>7} {'blob KB':>8}   seconds")
    with tempfile.TemporaryDirectory() as folder:
        library(Path(folder))
        for name in options.names:
            report(name, texts, Path(folder))


def report(name: str, texts: list[str], folder: Path) -> None:
    start = time.perf_counter()
    tokenizer, tokenizer_json = make(name, folder)
    c = native(library(folder), tokenizer_json)
    found = [*differences(tokenizer, c, texts), *plain_differences(tokenizer, c, texts)]
    seconds = time.perf_counter() - start
    print(f"{name:12} {len(texts):7} {len(found):7} {c.memory.size / 1024:8.0f}   {seconds:.0f}", flush=True)
    for text, got, wanted in found[:3]:
        print(f"  {text!r}\n    C:          {got}\n    tokenizers: {wanted}")
    c.close()


if __name__ == "__main__":
    main()

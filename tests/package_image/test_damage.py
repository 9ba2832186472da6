"""Broken files are refused with one clear text; no byte outside of them is read."""

from __future__ import annotations

import platform
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import png_writer
import pytest
from image_library import Refused, decode
from photos import saved, smooth, turned
from PIL import Image

from edgeq.lower.toolchain import cc
from edgeq.package.image import INCLUDE, LIBRARY


def seeds() -> dict[str, bytes]:
    image = Image.fromarray(smooth(37, 44))
    found = {
        "baseline.jpg": saved(image, "JPEG", exif=turned(6)),
        "progressive.jpg": saved(image, "JPEG", progressive=True, subsampling=0),
        "restarts.jpg": saved(image, "JPEG", restart_marker_blocks=2, subsampling=1),
        "inks.jpg": saved(image.convert("CMYK"), "JPEG"),
        "plain.ppm": b"P3 # c\n4 3\n255\n" + b" ".join(b"%d" % v for v in range(36)),
        "rgba.bmp": saved(Image.fromarray(smooth(9, 7, 4)), "BMP"),
    }
    for mode in "RGB", "1", "P", "LA":
        found[f"{mode}.png"] = saved(image.convert(mode), "PNG", exif=turned(3))
    for mode in "L", "1", "P":
        found[f"{mode}.bmp"] = saved(image.convert(mode), "BMP")
        found[f"{mode}.ppm"] = saved(image.convert("L" if mode == "P" else mode), "PPM")
    return found


@pytest.mark.parametrize(
    "name", ["baseline.jpg", "progressive.jpg", "restarts.jpg", "P.png", "P.bmp", "L.ppm", "1.ppm"]
)
def test_what_is_cut_off_is_refused(name):
    data = seeds()[name]
    for size in range(len(data)):
        with pytest.raises(Refused, match=r"truncated|empty|not an image|damaged"):
            decode(data[:size])


def test_a_damaged_png_is_refused():
    data = seeds()["RGB.png"]
    at = data.index(b"IDAT") + 20
    with pytest.raises(Refused, match="PNG data is damaged"):
        decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    samples = np.zeros((2, 2, 1), np.uint16)
    palette = png_writer.chunk(b"PLTE", bytes(3))
    with pytest.raises(Refused, match="damaged"):
        decode(png_writer.write(samples + 1, 2, 3, before=palette))  # an index beyond the palette
    with pytest.raises(Refused, match="damaged"):
        decode(png_writer.write(samples, 2, 3))  # no palette
    wrong = png_writer.chunk(b"IDAT", zlib.compress(b"\x05\0\x05\0"))
    header = png_writer.chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 2, 8, 0, 0, 0, 0))
    with pytest.raises(Refused, match="damaged"):  # a filter that is none
        decode(png_writer.SIGNATURE + header + wrong + png_writer.chunk(b"IEND", b""))


def test_a_header_that_claims_too_much_is_refused():
    huge = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    png = seeds()["RGB.png"]
    header = png_writer.chunk(b"IHDR", huge + b"\x08\x02\0\0\0")
    with pytest.raises(Refused, match="too large"):
        decode(png_writer.SIGNATURE + header + png[33:])
    header = png_writer.chunk(b"IHDR", struct.pack(">II", 9000, 9000) + b"\x08\x02\0\0\0")
    with pytest.raises(Refused, match="truncated"):
        decode(png_writer.SIGNATURE + header + png[33:])
    jpeg = bytearray(seeds()["baseline.jpg"])
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 9000, 9000)
    with pytest.raises(Refused, match="truncated"):
        decode(bytes(jpeg))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"), (b"hello, world", "not an image"), (b"GIF89a", "GIF"), (b"II*\0....", "TIFF"),
        (b"RIFF....WEBPVP8 ", "WebP"), (b"\0\0\0\x18ftypheic....", "HEIC"), (b"P7\nWIDTH 1\n", "not an image"),
    ],
)  # fmt: skip
def test_other_formats_are_named(data, said):
    with pytest.raises(Refused, match=said):
        decode(data)


def test_a_kind_of_jpeg_that_is_not_read_is_named():
    data = bytearray(seeds()["baseline.jpg"])
    data[data.index(b"\xff\xc0") + 1] = 0xC9
    with pytest.raises(Refused, match="arithmetic-coded"):
        decode(bytes(data))


def test_mutated_files_break_nothing(tmp_path: Path):
    """40,000 cases; undefined behaviour traps, and reading behind a file hits a page that is not there."""
    paths = []
    for name, data in seeds().items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    program = tmp_path / "fuzz"
    sources = [str(path) for path in (*LIBRARY, Path(__file__).with_name("fuzz.c"))]
    flags = ["-O1", "-std=gnu11", "-fsanitize=undefined", "-fsanitize-trap=undefined", f"-I{INCLUDE}"]
    cc(f"{platform.machine()}-linux-musl", [*flags, "-static", *sources, "-o", str(program)], "compiling the fuzzer")
    command = [str(program), "40000", "1", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done
    counts = dict(part.split() for part in done.stdout.strip().split(", "))
    assert int(counts["decoded"]) > 4000
    assert int(counts["refused"]) > 4000

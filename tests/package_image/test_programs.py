"""Packaged programs over photos answer as edgeq.tasks does with the same artifact."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import static_zoo
import zoo_compiled
from photos import saved, smooth, turned
from PIL import Image
from qemu import qemu

import edgeq
from edgeq.compiling.compiler import Options, compile_into
from edgeq.frontend.entries import Shapes
from edgeq.package.package import package
from edgeq.quant.bits import Bits
from edgeq.targets import find

SQUARE = {"height": 64, "width": 64}
SAM = {"image_processor_type": "SamImageProcessor", "size": {"longest_edge": 64}, "pad_size": SQUARE}


@dataclass(frozen=True)
class Program:
    """An artifact, the program made of it, and how that is started."""

    artifact: Path
    path: Path
    before: tuple[str, ...] = ()

    @cached_property
    def tasks(self) -> Any:
        """What edgeq.tasks makes of the artifact."""
        return edgeq.load(self.artifact).model

    def run(self, *arguments: str | Path, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        command = [*self.before, str(self.path), *map(str, arguments)]
        return subprocess.run(command, input=given, capture_output=True, timeout=120, check=False)

    def answer(self, *arguments: str | Path, given: bytes | None = None) -> str:
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def refusal(self, *arguments: str | Path) -> tuple[int, str]:
        """Exit code and message; nothing may be on stdout."""
        done = self.run(*arguments)
        assert not done.stdout
        return done.returncode, done.stderr.decode().splitlines()[-1]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models are built: one folder of all workers of a test run."""
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "photo-programs"
    made.mkdir(exist_ok=True)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photo.jpg (lying on its side), photo.png, broken.jpg."""
    made = tmp_path_factory.mktemp("photos")
    (made / "photo.jpg").write_bytes(saved(Image.fromarray(smooth(61, 90)), "JPEG", exif=turned(6)))
    (made / "photo.png").write_bytes(saved(Image.fromarray(smooth(33, 50, 4)), "PNG"))
    (made / "broken.jpg").write_bytes((made / "photo.jpg").read_bytes()[:-200])
    return made


def built(name: str, models: Path, shapes: Shapes | None = None, steps: dict[str, Any] | None = None) -> Program:
    """The program of a model of the zoo; the worker that comes first builds it, the others wait for it."""
    found = Program(models / f"{name}-artifact", models / name)
    with (models / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.path.exists():
            build(name, found, shapes or Shapes(), steps)
    return found


def build(name: str, program: Program, shapes: Shapes, steps: dict[str, Any] | None) -> None:
    model = program.path.with_name(f"{name}-model")
    static_zoo.save(name, model)
    if steps:
        (model / "preprocessor_config.json").write_text(json.dumps(steps))
    zoo_compiled.compile_folder(model, program.artifact, "w8a8", shapes)
    package(program.artifact, program.path)


@pytest.fixture(scope="module")
def segmenter(models: Path) -> Program:
    return built("sam", models, Shapes(points=3), SAM)


@pytest.fixture(scope="module")
def classifier(models: Path) -> Program:
    return built("vit_classes", models, Shapes((1, 2)))


@pytest.fixture(scope="module")
def detector(models: Path) -> Program:
    return built("detr", models)


@pytest.fixture(scope="module")
def embedder(models: Path) -> Program:
    return built("vit", models)


def test_masks(segmenter, folder, tmp_path):
    photo = folder / "photo.jpg"
    objects = [[(31, 22), (50.5, 80, 0)], [(7, 60)]]
    given = ["--point", "31,22", "--point", "-50.5,80", "--object", "7,60"]
    found = json.loads(segmenter.answer(photo, *given, "--json", "-o", tmp_path / "mask.png"))
    assert found["input"] == str(photo)
    for i, (points, mask) in enumerate(zip(objects, found["masks"], strict=True), 1):
        want = segmenter.tasks.segment(photo, points)
        assert mask["points"] == [[*point, 1][:3] for point in points]
        assert np.float32(mask["score"]) == want.score
        assert mask["pixels"] == want.pixels.sum() > 0
        assert mask["file"] == str(tmp_path / f"mask-{i}.png")
        assert np.array_equal(np.asarray(Image.open(mask["file"])), want.pixels * np.uint8(255))
        rows, columns = np.flatnonzero(want.pixels.any(1)), np.flatnonzero(want.pixels.any(0))
        assert mask["box"] == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask-1.png", "mask-2.png"]


def test_a_mask_as_text_and_from_stdin(segmenter, folder, tmp_path):
    line = segmenter.answer("-", "-p", "3,4", "-o", tmp_path / "m.png", given=(folder / "photo.png").read_bytes())
    want = segmenter.tasks.segment(folder / "photo.png", [(3, 4)])
    assert line.startswith(f"{want.score:7.4f}  {want.pixels.sum()} pixels, box [")
    assert line.endswith(f"  {tmp_path}/m.png\n")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "m.png")) > 0, want.pixels)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "give one photo"), (("photo.jpg", "photo.png", "-p", "1,1"), 2, "give one photo"),
        (("photo.jpg",), 2, "at least one point"), (("photo.jpg", "-p", "1,x"), 2, "no point"),
        (("photo.jpg", "-p", "1,2:2"), 2, "no point"), (("photo.jpg", "-p", "-1,2:1"), 2, "no point"),
        (("photo.jpg", "-p", "61,2"), 2, "outside of the photo (61x90"), (("none.jpg", "-p", "1,2"), 2, "No such file"),
        (("photo.jpg", "--object", "1,2 3,4 5,6 7,8"), 2, "at most 3"),
        (("photo.jpg", "-p", "1,2", "-o", "mask.jpg"), 2, "written as .png"),
        (("photo.jpg", "-p", "1,2", "-o", "none/mask.png"), 5, "cannot be written"),
        (("broken.jpg", "-p", "1,2"), 2, "broken.jpg cannot be read as a photo: the file is truncated"),
    ],
)  # fmt: skip
def test_what_cannot_be_segmented_is_refused(segmenter, folder, monkeypatch, arguments, code, said):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    found, message = segmenter.refusal(*arguments)
    assert said in message
    assert found == code
    assert sorted(folder.iterdir()) == before


def test_labels(classifier, folder):
    photos = [folder / "photo.jpg", folder / "photo.png"]
    lines = classifier.answer(*photos, "--json", "-q").splitlines()
    for line, photo in zip(lines, photos, strict=True):
        found, want = json.loads(line), classifier.tasks.classify(photo)[0]
        assert found["input"] == str(photo)
        assert [item["label"] for item in found["labels"]] == [item["label"] for item in want]
        assert np.allclose([item["score"] for item in found["labels"]], [item["score"] for item in want], rtol=1e-6)
    first = classifier.tasks.classify(photos[0])[0][0]
    assert classifier.answer(photos[0], "--top-k", "1") == f"{first['score']:7.4f}  {first['label']}\n"
    headed = classifier.answer(*photos, "-k", "1").splitlines()
    assert [headed[0], headed[2], headed[3]] == [str(photos[0]), "", str(photos[1])]
    code, message = classifier.refusal()
    assert code == 2
    assert "error: give at least one photo: a PNG, JPEG, BMP or PPM file, or - for stdin" in message


def test_boxes(detector, folder):
    photo = folder / "photo.jpg"
    for threshold, most in (0.0, 0), (0.14, 0), (0.0, 2):
        options = ["--threshold", str(threshold), *(["--top-k", str(most)] if most else [])]
        found = json.loads(detector.answer(photo, "--json", *options))["objects"]
        want = detector.tasks.detect(photo, threshold, most)
        assert [item["label"] for item in found] == [item["label"] for item in want]
        assert np.allclose([item["score"] for item in found], [item["score"] for item in want], rtol=1e-5)
        assert np.allclose([item["box"] for item in found], [item["box"] for item in want], rtol=1e-5, atol=1e-4)
    assert detector.answer(photo, "--threshold", "1") == "nothing scores above 1\n"


def test_vectors(embedder, folder):
    photos = [folder / "photo.jpg", folder / "photo.png"]
    found = [json.loads(line) for line in embedder.answer(*photos, "--json").splitlines()]
    assert np.allclose(found, embedder.tasks.embed(photos), rtol=1e-5, atol=1e-6)


def test_vectors_of_an_arm_are_the_same_bits(embedder, folder, tmp_path):
    """Decoding, resizing and preparing too: no fused multiply-add changes a value there."""
    artifact, target = tmp_path / "vit-arm64", find("arm64")
    artifact.mkdir()
    neon = dataclasses.replace(target, isas=(next(isa for isa in target.isas if isa.name == "neon"),))
    options = Options(str(embedder.path.with_name("vit-model")), neon, Bits.parse("w8a8"), 32, 16)
    compile_into(artifact, options, lambda *_: None)
    arm = Program(artifact, package(artifact, tmp_path / "vit-arm").path, tuple(qemu("cortex-a72")))
    photos = [folder / "photo.jpg", folder / "photo.png"]
    assert arm.answer(*photos, "--json") == embedder.answer(*photos, "--json")

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xxhash
from safetensors import safe_open

from edgeq.artifact.hashes import hash_file
from edgeq.artifact.weights_file import TensorSpec, WeightsFile, WeightsLayout
from edgeq.errors import OutputError

SPECS = [TensorSpec("a.weight", "U8", (256,)), TensorSpec("norm", "F32", (3,)), TensorSpec("table", "F16", (5, 32))]


def contents() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "a.weight": rng.integers(0, 256, 256, dtype=np.uint8),
        "norm": rng.normal(size=3).astype(np.float32),
        "table": rng.normal(size=(5, 32)).astype(np.float16),
    }


def write(path: Path) -> WeightsFile:
    with WeightsFile(path, SPECS, {"format": "edgeq"}) as file:
        for name, value in contents().items():
            file.add(name, (value[i : i + 2] for i in range(0, len(value), 2)))
    return file


def test_safetensors_reads_what_was_streamed(tmp_path: Path) -> None:
    write(tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", "np") as file:
        assert file.metadata() == {"format": "edgeq"}
        for name, value in contents().items():
            assert np.array_equal(file.get_tensor(name), value)


def test_layout_says_where_the_bytes_are(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    layout = write(path).layout
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    assert start % 64 == 0 and len(data) == layout.file_bytes == start + layout.tensor_bytes
    for name, value in contents().items():
        at = layout.offsets[name]
        assert at % 64 == 0
        assert data[start + at : start + at + value.nbytes] == value.tobytes()
    assert layout.tensor_bytes % 64 == 0


def test_hashes_are_those_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "w.safetensors")
    assert file.xxh64 == xxhash.xxh64_intdigest((tmp_path / "w.safetensors").read_bytes(), seed=0)
    assert hash_file(tmp_path / "w.safetensors").sha256 == file.sha256
    assert hash_file(tmp_path / "w.safetensors").xxh64 == f"{file.xxh64:016x}"


def test_a_full_disk_says_what_was_needed() -> None:
    specs = [TensorSpec("big", "U8", (1 << 20,))]
    with pytest.raises(OutputError, match=r"disk is full: full needs 1,048,\d+ bytes"):
        write_zeros(Path("/dev/full"), specs)


def test_too_little_space_is_noticed_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(OutputError, match="1,000 are free"):
        write_zeros(tmp_path / "w", [TensorSpec("big", "U8", (4096,))])
    assert not (tmp_path / "w").exists()


def write_zeros(path: Path, specs: list[TensorSpec]) -> None:
    with WeightsFile(path, specs) as file:
        for spec in specs:
            file.add(spec.name, [np.zeros(spec.nbytes, np.uint8)])


@pytest.mark.parametrize("size", [0, 255, 257, 512])
def test_a_tensor_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match="256 bytes announced"), WeightsFile(tmp_path / "w", SPECS) as file:
        file.add("a.weight", [np.zeros(size, np.uint8)])


def test_order_and_completeness_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'norm' given where 'a\.weight'"), WeightsFile(tmp_path / "w", SPECS) as file:
        file.add("norm", [np.zeros(3, np.float32)])
    with pytest.raises(ValueError, match="never given: norm, table"), WeightsFile(tmp_path / "w", SPECS) as file:
        file.add("a.weight", [np.zeros(256, np.uint8)])
    with pytest.raises(ValueError, match="two tensors"):
        WeightsLayout([SPECS[0], SPECS[0]])

"""Safetensors read by rows: values, laziness, and damaged files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from edgeq.errors import ModelError
from edgeq.frontend.safetensors_file import SafetensorsWeights, read_header

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    noise = torch.Generator().manual_seed(0)
    tensors = {str(dtype)[6:]: (torch.randn(10, 3, 2, generator=noise) * 50).to(dtype) for dtype in DTYPES}
    tensors["empty"], tensors["scalar"] = torch.zeros(0, 4), torch.tensor(2.5)
    save_file(tensors, tmp_path / "x.safetensors")
    return tmp_path / "x.safetensors", tensors


def test_values_are_handed_out_as_float32(stored: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, tensors = stored
    weights = SafetensorsWeights([path])
    assert set(weights.names()) == set(tensors)
    for name, tensor in tensors.items():
        want = tensor.float() if tensor.is_floating_point() else tensor
        assert weights.shape(name) == tuple(tensor.shape)
        assert torch.equal(weights.read(name), want) and weights.read(name).dtype == want.dtype


@pytest.mark.parametrize("rows", [slice(0, 3), slice(4, 5), slice(8, 99), slice(3, 3), slice(-2, None)])
def test_rows(stored: tuple[Path, dict[str, torch.Tensor]], rows: slice) -> None:
    path, tensors = stored
    assert torch.equal(SafetensorsWeights([path]).read("bfloat16", rows), tensors["bfloat16"][rows].float())


def test_the_file_may_disappear_only_with_an_error(stored: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, _ = stored
    weights = SafetensorsWeights([path])
    path.unlink()
    with pytest.raises(ModelError, match="cannot be opened"):
        weights.read("float32")


def test_nothing_stays_mapped(stored: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, _ = stored
    weights = SafetensorsWeights([path])
    weights.read("float32")
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_unknown_names(stored: tuple[Path, dict[str, torch.Tensor]]) -> None:
    with pytest.raises(ModelError, match="no tensor 'nothing'"):
        SafetensorsWeights([stored[0]]).read("nothing")


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 400), byte=st.integers(0, 255), cut=st.integers(0, 3000))
def test_damage_is_a_model_error_or_harmless(
    stored: tuple[Path, dict[str, torch.Tensor]], at: int, byte: int, cut: int
) -> None:
    path, _ = stored
    raw = bytearray(path.read_bytes())
    raw[at] = byte
    broken = path.with_name("broken.safetensors")
    broken.write_bytes(raw[: max(len(raw) - cut, 0)])
    try:
        header = read_header(broken)
    except ModelError as error:
        assert str(broken) in str(error)
    else:
        assert all(entry.start + entry.size <= broken.stat().st_size for entry in header.values())

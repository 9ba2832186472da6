"""Photos become what transformers' own image processors make of them; odd files are read or refused."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from edgeq.errors import UnsupportedError, UsageError
from edgeq.tasks.image import Steps, prepare
from edgeq.tasks.photo import pixels
from edgeq.tasks.preprocessing import CONFIG, checked_steps, fitted, output_size, processor_of

PROCESSORS = {
    "vit": {"image_processor_type": "ViTImageProcessor", "size": {"height": 30, "width": 42}},
    "vit of 2021": {"feature_extractor_type": "ViTFeatureExtractor", "size": 48, "image_mean": [0.5, 0.5, 0.5]},
    "clip": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 33}, "crop_size": 33},
    "clip of 2021": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 40, "crop_size": 64, "do_resize": True},
    "siglip": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 32, "width": 32}},
    "deit": {"image_processor_type": "DeiTImageProcessor", "size": 64, "crop_size": {"height": 45, "width": 51}},
    "dinov2": {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 40}, "crop_size": 30},
    "resnet": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 56}, "crop_pct": 0.875},
    "convnext at 384": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}},
    "sam": {
        "image_processor_type": "SamImageProcessor",
        "size": {"longest_edge": 96},
        "pad_size": {"height": 96, "width": 96},
    },
    "detr": {"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 60, "longest_edge": 100}},
    "plain": {"image_processor_type": "ViTImageProcessor", "do_resize": False, "do_normalize": False},
}
PHOTOS = [(61, 83), (97, 40), (30, 171), (240, 320)]


def processor(name: str):
    return processor_of({CONFIG: json.dumps(PROCESSORS[name]).encode()})


def photo(height: int, width: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def stored(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size", PHOTOS)
def test_pixels_are_those_of_transformers(name, size):
    theirs = processor(name)
    image = photo(*size)
    steps = Steps.from_json(json.loads(json.dumps(checked_steps(theirs).to_json())))
    expected = theirs(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    found = prepare(image, steps).pixels
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-5


def test_what_steps_cannot_say_is_refused():
    config = {"image_processor_type": "EfficientNetImageProcessor"}  # rescales with an offset
    with pytest.raises(UnsupportedError, match="EfficientNetImageProcessorPil gives other pixels"):
        checked_steps(processor_of({CONFIG: json.dumps(config).encode()}))
    with pytest.raises(UnsupportedError, match="no image processor"):
        processor_of({CONFIG: b'{"image_processor_type": "Nonsense"}'})


def test_code_of_a_checkpoint_is_not_run():
    config = PROCESSORS["vit"] | {"auto_map": {"AutoImageProcessor": "evil.Processor"}}
    assert type(processor_of({CONFIG: json.dumps(config).encode()})).__name__ == "ViTImageProcessorPil"


def test_settings_inside_a_processor_config_are_found():
    nested = {"processor_class": "CLIPProcessor", "image_processor": PROCESSORS["clip"]}
    found = processor_of({"processor_config.json": json.dumps(nested).encode()})
    assert output_size(checked_steps(found)) == (33, 33)
    assert processor_of({"processor_config.json": b'{"processor_class": "X"}'}) is None


@pytest.mark.parametrize("name", ["vit", "clip", "deit", "resnet", "sam", "detr"])
@pytest.mark.parametrize("masked", [True, False])
def test_the_compiled_size_comes_out_of_any_photo(name, masked):
    steps, note = fitted(checked_steps(processor(name)), (64, 80) if name != "sam" else (64, 64), masked)
    shapes = {prepare(photo(*size), steps).pixels.shape for size in PHOTOS}
    assert shapes == {(3, 64, 64 if name == "sam" else 80)}
    assert bool(note) == (name != "detr" or not masked)


def test_the_processor_s_own_size_changes_nothing():
    steps = checked_steps(processor("clip"))
    assert fitted(steps, (33, 33), False) == (steps, "")


def test_a_masked_photo_keeps_its_proportions():
    steps, _ = fitted(checked_steps(processor("detr")), (64, 80), True)
    found = prepare(photo(97, 40), steps)
    assert found.original == (97, 40)
    assert found.resized == (64, 26)
    assert found.mask.sum() == 64 * 26
    assert not found.pixels[:, :, 26:].any()


def test_sam_s_photo_keeps_its_proportions_in_a_smaller_square():
    steps, _ = fitted(checked_steps(processor("sam")), (64, 64), False)
    assert prepare(photo(30, 60), steps).resized == (32, 64)


def test_orientation_is_applied():
    image = Image.fromarray(photo(8, 12))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    turned = pixels(stored(image, exif=exif))
    assert turned.shape == (12, 8, 3)
    assert (turned == np.rot90(np.asarray(image), -1)).all()


def test_transparency_lies_on_white_as_in_transformers():
    from transformers.image_transforms import convert_to_rgb

    layers = np.dstack([photo(6, 7), np.random.default_rng(0).integers(0, 256, (6, 7), np.uint8)])
    expected = convert_to_rgb(Image.fromarray(layers), return_numpy=True)
    assert (pixels(stored(Image.fromarray(layers))) == expected).all()
    assert (pixels(layers) == expected).all()


def test_palettes_greys_and_deep_greys():
    grey = photo(6, 7)[:, :, 0]
    assert (pixels(stored(Image.fromarray(grey))) == grey[:, :, None]).all()
    assert (pixels(grey, channels=1) == grey[:, :, None]).all()
    deep = Image.fromarray(grey.astype(np.uint16) * 256 + 17)
    assert (pixels(stored(deep)) == grey[:, :, None]).all()
    palette = Image.fromarray(photo(6, 7)).convert("P")
    assert (pixels(stored(palette)) == np.asarray(palette.convert("RGB"))).all()
    see_through = Image.new("P", (2, 1))
    see_through.putpalette([10, 20, 30, 40, 50, 60])
    see_through.putdata([0, 1])
    assert pixels(stored(see_through, transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_one_channel_models():
    grey = photo(8, 8)[:, :, 0]
    found = prepare(grey, Steps(resize={"rule": "exact", "height": 4, "width": 6}, mean=(0.5,), std=(2.0,)), channels=1)
    assert found.pixels.shape == (1, 4, 6)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1)])
@pytest.mark.parametrize("name", ["sam", "clip"])
def test_slivers_are_refused(name, size):
    grown = Steps(resize={"rule": "shortest", "edge": 224}) if name == "clip" else checked_steps(processor("sam"))
    with pytest.raises(UsageError, match="long and thin"):
        prepare(photo(*size), grown)


def test_bad_photos_are_usage_errors(tmp_path):
    whole = stored(Image.fromarray(photo(64, 64)), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    faults = {"cut.jpg": "cut.jpg cannot be read as an image", "text.png": "cannot be read", "no.png": "no such file"}
    for name, message in faults.items():
        with pytest.raises(UsageError, match=message):
            pixels(tmp_path / name)
    with pytest.raises(UsageError, match="a folder"):
        pixels(tmp_path)
    with pytest.raises(UsageError, match="uint8"):
        pixels(np.zeros((4, 4, 3), np.float32))

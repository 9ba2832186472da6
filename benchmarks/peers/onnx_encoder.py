"""onnxruntime: a sentence encoder with its pooling inside the graph, in float32 or with `quantize_dynamic`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from peers.encoder_worker import Encoder, serve, size_of

FORMATS = ("fp32", "fp32 fused", "int8", "int8 fused")


def prepare(folder: Path, prepared: Path, form: str) -> None:
    """Convert a Hugging Face folder to one of FORMATS: a single .onnx file."""
    exported = prepared.with_suffix(".exported.onnx")
    export(folder, exported)
    if "fused" in form:
        fuse(folder, exported)
    if "int8" in form:
        quantize(exported, prepared)
        exported.unlink()
    else:
        exported.rename(prepared)


def export(folder: Path, path: Path) -> None:
    """With symbolic batch and length, as such models are published."""
    import torch

    from peers.torch_encoder import load_model

    ids = torch.randint(1000, 20000, (1, 32), generator=torch.Generator().manual_seed(0))
    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "batch", 1: "length"} for name in names}
    options = {"input_names": names, "output_names": ["sentence_embedding"], "dynamic_axes": axes, "opset_version": 17}
    torch.onnx.export(load_model(folder), (ids, torch.ones_like(ids)), str(path), dynamo=False, **options)


def fuse(folder: Path, path: Path) -> None:
    """onnxruntime's transformer optimizer: attention, layer norm and gelu become one node each."""
    import json

    from onnxruntime.transformers.optimizer import optimize_model

    config = json.loads((folder / "config.json").read_text())
    shape = {"num_heads": config["num_attention_heads"], "hidden_size": config["hidden_size"]}
    optimize_model(str(path), model_type="bert", opt_level=1, **shape).save_model_to_file(str(path))


def quantize(source: Path, path: Path) -> None:
    """Dynamic int8, a scale per channel: what its documentation recommends for transformers on CPUs."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    untyped = {"DefaultTensorType": onnx.TensorProto.FLOAT}  # fused nodes hide types from shape inference
    quantize_dynamic(str(source), str(path), per_channel=True, weight_type=QuantType.QInt8, extra_options=untyped)


def load(prepared: Path, threads: int) -> Encoder:
    """A session with every graph optimisation and `threads` threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(prepared), options, providers=["CPUExecutionProvider"])
    types = {i.name: np.int32 if "int32" in i.type else np.int64 for i in session.get_inputs()}

    def embed(ids: Sequence[int]) -> np.ndarray:
        feed = {"input_ids": np.asarray([ids]), "attention_mask": np.ones((1, len(ids)))}
        return session.run(None, {name: feed[name].astype(kind) for name, kind in types.items()})[0][0]

    return Encoder(embed, f"onnxruntime {onnxruntime.__version__}", size_of(prepared))


if __name__ == "__main__":
    serve(load)

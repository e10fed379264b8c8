"""Whole networks on our engine beside onnxruntime: the recorded graphs of the tests, weights from their seeds.

    python -m benchmarks networks

One thread, CPU time, interleaved in one process. Both are given the same array and make the same tensor.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import convolution_peers
from benchmarks.tables import interleaved, print_table
from pipeline.network.execute import Network
from pipeline.network.onnx_import import read

TESTS = Path(__file__).parents[1] / "tests"
TO_SECOND_STAGE = "/5/Relu_output_0"
CASES = {
    "ResNet18 to its second stage, 13 × 512²": ("resnet18", (1, 13, 512, 512), TO_SECOND_STAGE),
    "ResNet18, 13 × 256²": ("resnet18", (1, 13, 256, 256), None),
    "ResNet50, 256²": ("resnet50", (1, None, 256, 256), None),
    "VGG11, 224²": ("vgg11_bn", (1, None, 224, 224), None),
    "MobileNetV2, 256²": ("mobilenet_v2", (1, None, 256, 256), None),
    "EfficientNet-lite0, 256²": ("efficientnet_lite0", (1, None, 256, 256), None),
    "U-Net, transposed, 256²": ("unet_transpose", (1, None, 256, 256), None),
    "U-Net, bilinear, 256²": ("unet_bilinear", (1, None, 256, 256), None),
}


def main(smoke: bool) -> None:
    """Print one table."""
    if absent := [name for name in ("onnxruntime",) if name not in convolution_peers.MODULES]:
        print(f"not installed, left out: {', '.join(absent)}\n")
    rows = []
    for name, (fixture, shape, tensor) in list(CASES.items())[: 1 if smoke else None]:
        model = _model(fixture)
        channels = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
        size = (1, channels, *((64, 64) if smoke else shape[2:]))
        x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
        network = Network(read(model), None if tensor is None else (tensor,))
        works: dict[str, Any] = {"ours": lambda network=network, x=x: network(x)}
        if "onnxruntime" in convolution_peers.MODULES:
            works["onnxruntime"] = convolution_peers.onnx_session(_cut(model, tensor), 1, x[0])
        ours, *theirs = interleaved(list(works.values()), 7)
        gap = _gap(*(work()[0] for work in works.values())) if theirs else "–"
        peer = [1e3 * theirs[0], theirs[0] / ours] if theirs else ["–", "–"]
        rows.append([name, 1e3 * ours, *peer, gap])
    print_table(["network", "ours, ms", "onnxruntime, ms", "onnxruntime ÷ ours", "max difference ÷ std"], rows)


def _gap(ours: Any, theirs: Any) -> float:
    return float(np.abs(ours - theirs).max() / theirs.std())


def _model(name: str) -> Any:
    spec = importlib.util.spec_from_file_location("onnx_networks", TESTS / "onnx_networks.py")
    assert spec is not None
    assert spec.loader is not None
    networks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(networks)
    with np.load(TESTS / "fixtures" / "onnx" / f"{name}.npz") as recorded:
        return networks.filled(networks.unpacked(recorded["model"].tobytes()), int(recorded["seed"]))


def _cut(model: Any, tensor: str | None) -> Any:
    """The model up to one tensor; onnxruntime leaves out what that does not need."""
    if tensor is None:
        return model
    copy = type(model).FromString(model.SerializeToString())
    del copy.graph.output[:]
    onnx = convolution_peers.MODULES["onnx"]
    copy.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    return copy

"""Convolutions of the peers, as their users would write them: (C, H, W) in, (N, H, W) out, bias and ReLU included.

A peer whose package is not installed is left out. torch takes its input as channels_last, packing counted, and as it
comes; onnxruntime packs for itself. Each may allocate its output anew.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Work = Callable[[], Any]
OPTIONAL = ("torch", "onnx", "onnxruntime")
MODULES = {name: importlib.import_module(name) for name in OPTIONAL if importlib.util.find_spec(name) is not None}


def peers(x: F32, filters: F32, bias: F32, threads: int, pool: int = 0) -> dict[str, Work]:
    """The same work by each peer that is installed; pool: both signs rectified and averaged over pool x pool."""
    found: dict[str, Work] = {}
    if "torch" in MODULES:
        MODULES["torch"].set_num_threads(threads)
        found["torch"] = _torch(x, filters, bias, pool, last=False)
        found["torch channels_last"] = _torch(x, filters, bias, pool, last=True)
    if "onnxruntime" in MODULES:
        found["onnxruntime"] = onnx_session(_model(x, filters, bias, pool), threads, x)
    return found


def absent() -> list[str]:
    """Packages that are not installed."""
    return sorted(set(OPTIONAL) - set(MODULES))


def onnx_session(model: Any, threads: int, x: F32) -> Work:
    """A session of onnxruntime over one model with one input."""
    runtime = MODULES["onnxruntime"]
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x[None]})


def _torch(x: F32, filters: F32, bias: F32, pool: int, last: bool) -> Work:
    torch: Any = MODULES["torch"]
    layout = torch.channels_last if last else torch.contiguous_format
    weights = torch.from_numpy(filters).contiguous(memory_format=layout)
    shift, image, around = torch.from_numpy(bias), torch.from_numpy(x[None]), filters.shape[2] // 2

    def work() -> Any:
        with torch.inference_mode():
            z = torch.nn.functional.conv2d(image.contiguous(memory_format=layout), weights, shift, padding=around)
            if not pool:
                return torch.relu_(z)
            # As torchgeo.models.RCF does, with a mean over windows in place of the mean over the whole image.
            both = torch.cat((torch.relu(z), torch.relu(-z)), dim=1)
            return torch.nn.functional.avg_pool2d(both, pool)

    return work


def _model(x: F32, filters: F32, bias: F32, pool: int) -> Any:
    onnx = MODULES["onnx"]
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    size, around = filters.shape[2], filters.shape[2] // 2
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["z"], kernel_shape=[size] * 2, pads=[around] * 4)]
    if pool:
        # mean relu(−z) = mean relu(z) − mean z: one convolution, two pools, fused by hand as far as its operators go.
        window = {"kernel_shape": [pool] * 2, "strides": [pool] * 2}
        nodes += [
            helper.make_node("Relu", ["z"], ["r"]),
            helper.make_node("AveragePool", ["r"], ["plus"], **window),
            helper.make_node("AveragePool", ["z"], ["mean"], **window),
            helper.make_node("Sub", ["plus", "mean"], ["minus"]),
            helper.make_node("Concat", ["plus", "minus"], ["y"], axis=1),
        ]
    else:
        nodes.append(helper.make_node("Relu", ["z"], ["y"]))
    values = [onnx.numpy_helper.from_array(array, name) for array, name in ((filters, "w"), (bias, "b"))]
    inputs = [helper.make_tensor_value_info("x", floats, [1, *x.shape])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", floats, None)], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model

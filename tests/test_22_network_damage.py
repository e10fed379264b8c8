"""Attributes that cannot be, in a network that is to be tiled: one line that names the operator and its output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import floats, model, node

from pipeline.errors import ModelError
from pipeline.network.network_bank import NetworkBank, check_tensor
from pipeline.network.onnx_import import read
from pipeline.network.survey import survey

FILTERS = {"w": floats(3, 2, 3, 3)}
INTS = np.int64
CONVOLVING = {
    "pads [1, 1, 1] are not 4": {"pads": [1, 1, 1]},
    "strides [1] are not 2": {"strides": [1]},
    "strides [1, 1, 1] are not 2": {"strides": [1, 1, 1]},
    "strides [0, 0] are not 2": {"strides": [0, 0]},
    "dilations [0, 0] are not 2": {"dilations": [0, 0]},
    "weights of shape (3, 2, 3, 3) in 0 groups take no channels": {"group": 0},
    "pads [-5, -5, -5, -5] are not 4 numbers of at least 0": {"pads": [-5] * 4},
}
TRANSPOSING = {
    "strides [0, 0] are not 2": {"strides": [0, 0]},
    "output_padding [5] are not 2": {"output_padding": [5]},
    "group 0 is not positive": {"group": 0},
}
SLICING = {
    "a step is 0": {"f": [0], "t": [9], "a": [1], "s": [0]},
    "not equally many": {"f": [0, 1], "t": [9], "a": [1], "s": [1]},
    "must be integers, got float32": {"f": [0], "t": np.float32([np.nan]), "a": [1], "s": [1]},
}
RESIZING = {
    "scales [1.0, 1.0, nan, 2.0] are not 4 finite": [1, 1, np.nan, 2],
    "scales [1.0, 1.0, inf, 2.0] are not 4 finite": [1, 1, np.inf, 2],
    "scales [2.0, 2.0, 2.0] are not 4 finite": [2, 2, 2],
}
CASES = [
    *((node("Conv", "x,w", "y", **given), FILTERS, said) for said, given in CONVOLVING.items()),
    *((node("ConvTranspose", "x,w", "y", **given), FILTERS, said) for said, given in TRANSPOSING.items()),
    *((node("Slice", "x,f,t,a,s", "y"), given, said) for said, given in SLICING.items()),
    *((node("Resize", "x,,f", "y"), {"f": np.float32(given)}, said) for said, given in RESIZING.items()),
    (node("Conv", "x,w", "y"), {"w": np.float32(1)}, "weights of shape () in 1 groups take no channels"),
    (node("Conv", "x,w", "y"), {"w": floats(3, 0, 3, 3)}, "weights of shape (3, 0, 3, 3) in 1 groups take no"),
    (node("Conv", "x,w", "y"), {"w": floats(3, 2, 0, 3)}, "a kernel of 0 x 3 has no taps"),
    (node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[2]), {}, "strides [2] are not 2"),
    (node("MaxPool", "x", "y", kernel_shape=[0, 2]), {}, "a kernel of 0 x 2 has no taps"),
    (node("Transpose", "x", "y", perm=[0, 1, 2, 7]), {}, "perm [0, 1, 2, 7] is no order of 4 axes"),
    (node("DepthToSpace", "x", "y", blocksize=0), {}, "blocksize 0 is not positive"),
    (node("SpaceToDepth", "x", "y", blocksize=-2), {}, "blocksize -2 is not positive"),
    (node("Add", "x,k", "y"), {"k": floats(1, 0, 1, 1)}, "a constant of shape (1, 0, 1, 1) is empty"),
    (node("Unsqueeze", "x,a", "y"), {"a": INTS([0, 0])}, "axes [0, 0] are not different ones of 6"),
]


@pytest.mark.parametrize(("damaged", "constants", "said"), CASES, ids=[f"{one.op_type} {end}" for one, _, end in CASES])
def test_an_attribute_that_cannot_be_is_told_with_its_operator(damaged, constants, said):
    graph = read(model([damaged], constants=constants))
    with pytest.raises(ModelError) as caught:
        survey(graph, 2)
    message = str(caught.value)
    assert message.startswith(f"operator {damaged.op_type} that makes 'y': ")
    assert said in message
    assert "\n" not in message


def test_the_second_of_two_convolutions_needs_groups_as_well():
    nodes = [node("Conv", "x,w", "c"), node("Conv", "c,w", "y", group=-1)]
    with pytest.raises(ModelError, match="Conv that makes 'y': group -1 is not positive"):
        survey(read(model(nodes, constants=FILTERS)), 2)


def test_a_bank_names_the_model_too(tmp_path: Path):
    path = tmp_path / "damaged.onnx"
    onnx.save(model([node("Conv", "x,w", "y", group=0)], constants=FILTERS), path)
    words = r"damaged\.onnx: operator Conv that makes 'y': weights of shape .* take no channels"
    with pytest.raises(ModelError, match=words):
        check_tensor(path, "y")
    with pytest.raises(ModelError, match=words):
        NetworkBank(path, "y", ("a", "b"), np.zeros(2), np.ones(2))

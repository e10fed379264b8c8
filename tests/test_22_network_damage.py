"""Attributes that cannot be, in a network that is to be tiled: one line that names the operator and its output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto
from onnx_models import floats, model, node

from pipeline.errors import BankError, ModelError
from pipeline.network import tiling
from pipeline.network.network_bank import NetworkBank, check_tensor
from pipeline.network.onnx_import import read
from pipeline.network.survey import survey
from pipeline.network.tiling import Axis

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


def _tower(op: str, names: str, count: int, **given: object) -> list[NodeProto]:
    """One operator after the other, the last of which makes t."""
    parts = ["x", *(f"t{i}" for i in range(1, count)), "t"]
    return [node(op, names.format(parts[i]), parts[i + 1], **given) for i in range(count)]


HALVES = {"kernel_shape": [2, 2], "strides": [2, 2]}
TOO_MUCH = {
    "Pad makes 8589934594 channels, not 1 to 65536": ([node("Pad", "x,p", "t")], [0, 1 << 33, 0, 0, 0, 0, 0, 0]),
    "Pad makes -3 channels, not": ([node("Pad", "x,p", "t")], [0, -5, 0, 0, 0, 0, 0, 0]),
    "Concat makes 131072 channels, not": (_tower("Concat", "{0},{0}", 40, axis=1), []),
    "MaxPool makes one place of 2048 x 2048 pixels": (_tower("MaxPool", "{}", 16, **HALVES), []),
    "MaxPool makes one place of 1 x 1073741824 pixels": (
        [node("MaxPool", "x", "t", kernel_shape=[2, 2], strides=[1, 1 << 30])],
        [],
    ),
    "ConvTranspose makes one place of 1/2000 x 1/2000": ([node("ConvTranspose", "x,w", "t", strides=[2000] * 2)], []),
}


@pytest.mark.parametrize("said", TOO_MUCH)
def test_what_no_network_has_is_refused_with_its_operator(said):
    nodes, pads = TOO_MUCH[said]
    nodes = [*nodes, node("Relu", "t", "y")]
    graph = read(model(nodes, constants={"p": INTS(pads), "w": floats(2, 2, 2, 2)}))
    with pytest.raises(BankError, match=said) as caught:
        survey(graph, 2).field("y")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_strides_that_meet_in_no_small_number_are_refused():
    """1/31 and 1/37 of the pixels: blocks would have to begin where both do."""
    nodes = [node("MaxPool", "x", "a", kernel_shape=[2, 2], strides=[31, 31])]
    nodes += [node("ConvTranspose", "a,w", "b", strides=[31, 31])]
    nodes += [node("MaxPool", "b", "y", kernel_shape=[2, 2], strides=[37, 37])]
    found = survey(read(model(nodes, constants={"w": floats(2, 2, 2, 2)})), 2)
    assert found.field("b").units == (31, 31)
    with pytest.raises(BankError, match="blocks would begin at multiples of 1147 x 1147 pixels, beyond 1024"):
        found.field("y")


def test_strides_of_512_are_still_those_of_networks():
    graph = read(model([node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[512, 512])]))
    assert survey(graph, 2).field("y").stride == (512, 512)


def test_lengths_are_not_tried_for_ever(monkeypatch):
    graph = read(model([node("SpaceToDepth", "x", "y", blocksize=128)]))
    field = survey(graph, 2).field("y")
    assert Axis(field, 0, 1).padded == 128
    monkeypatch.setattr(tiling, "MOST_TRIED", 1)
    with pytest.raises(BankError, match="does not run on rows of 1 pixels"):
        Axis(field, 0, 1)


def test_a_bank_names_the_model_too(tmp_path: Path):
    path = tmp_path / "damaged.onnx"
    onnx.save(model([node("Conv", "x,w", "y", group=0)], constants=FILTERS), path)
    words = r"damaged\.onnx: operator Conv that makes 'y': weights of shape .* take no channels"
    with pytest.raises(ModelError, match=words):
        check_tensor(path, "y")
    with pytest.raises(ModelError, match=words):
        NetworkBank(path, "y", ("a", "b"), np.zeros(2), np.ones(2))

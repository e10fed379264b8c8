"""Models made to harm: one clear error, little memory, no other file, no other kind of traceback."""

from __future__ import annotations

import tracemalloc

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import floats, model, node

from pipeline.errors import ModelError, TerrasketchError
from pipeline.network import onnx_import, onnx_wire, sizes
from pipeline.network.onnx_import import load, read, run

X = [floats(1, 1, 8, 8)]
FILTERS = {"w": floats(1, 1, 3, 3)}
FEW_BYTES = 32 << 20
HUGE = 1 << 40
INTS = np.int64


def refused(made, *words, inputs=None):
    """The one line that reading, or running, such a model gives; while it holds next to nothing."""
    tracemalloc.start()
    try:
        with pytest.raises(ModelError) as caught:
            read(made) if inputs is None else run(made, inputs)
        assert tracemalloc.get_traced_memory()[1] < FEW_BYTES
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    assert all(word in message for word in words), message


class TestFiles:
    def test_no_other_file_is_opened(self, tmp_path):
        (tmp_path / "secret").write_bytes(bytes(12))
        (tmp_path / "models").mkdir()
        made = model([node("Add", "x,w", "y")], constants={"w": np.zeros(3, np.float32)})
        tensor = made.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret")
        path = tmp_path / "models" / "network.onnx"
        path.write_bytes(made.SerializeToString())
        with pytest.raises(ModelError, match=r"network\.onnx.*'w'.*another file"):
            load(path)

    @pytest.mark.parametrize(
        "content", [b"", b"hello, this is text", bytes(100), b"\xff" * 100, b"\x3a\xff\xff\xff\xff\x0f"]
    )
    def test_what_is_not_a_model(self, tmp_path, content):
        (tmp_path / "network.onnx").write_bytes(content)
        with pytest.raises(ModelError, match=r"network\.onnx"):
            load(tmp_path / "network.onnx")

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(ModelError, match="No such file"):
            load(tmp_path / "network.onnx")
        with pytest.raises(ModelError, match="directory"):
            load(tmp_path)

    def test_a_file_larger_than_any_network(self, tmp_path, monkeypatch):
        monkeypatch.setattr(onnx_import, "MOST_FILE_BYTES", 10)
        (tmp_path / "network.onnx").write_bytes(bytes(11))
        with pytest.raises(ModelError, match="larger"):
            load(tmp_path / "network.onnx")

    def test_more_structure_than_a_network_has(self, tmp_path, monkeypatch):
        made = model([node("Relu", "x", "y")], constants={"w": floats(1000)})
        (tmp_path / "network.onnx").write_bytes(made.SerializeToString())
        monkeypatch.setattr(onnx_wire, "MOST_STRUCTURE_BYTES", 1000)
        load(tmp_path / "network.onnx")
        made.graph.node[0].doc_string = "a" * 1000
        (tmp_path / "network.onnx").write_bytes(made.SerializeToString())
        with pytest.raises(ModelError, match="beside its weights"):
            load(tmp_path / "network.onnx")

    def test_more_parts_than_a_network_has(self, tmp_path, monkeypatch):
        (tmp_path / "network.onnx").write_bytes(model([node("Relu", "x", "y")]).SerializeToString())
        monkeypatch.setattr(onnx_wire, "MOST_FIELDS", 3)
        with pytest.raises(ModelError, match="more than 3 parts"):
            load(tmp_path / "network.onnx")

    def test_the_look_before_parsing_lets_every_honest_file_through(self):
        for nodes in (1, 50):
            chain = [node("Relu", f"x{i}", f"x{i + 1}") for i in range(nodes)]
            made = model(chain, ("x0",), (f"x{nodes}",), {"w": floats(10)})
            onnx_wire.check(made.SerializeToString())


class TestTensors:
    def broken(self, change):
        made = model([node("Add", "x,w", "y")], constants={"w": np.zeros(3, np.float32)})
        change(made.graph.initializer[0])
        return made

    def test_sizes_are_checked_before_anything_is_allocated(self):
        def grow(tensor):
            tensor.dims[:] = [HUGE]

        refused(self.broken(grow), "'w'", "1024 MiB")

    def test_bytes_must_be_as_many_as_the_shape_says(self):
        def shorten(tensor):
            tensor.raw_data = bytes(5)

        refused(self.broken(shorten), "'w'")

    def test_negative_sizes(self):
        def negate(tensor):
            tensor.dims[:] = [-1, -3]

        refused(self.broken(negate), "'w'", "cannot be")

    def test_more_axes_than_any_tensor(self):
        def deepen(tensor):
            tensor.dims[:] = [1] * 100 + [3]

        refused(self.broken(deepen), "101 axes")

    def test_types_that_are_not_there(self):
        for kind in (0, 8, 77):

            def change(tensor, kind=kind):
                tensor.data_type = kind

            refused(self.broken(change), "'w'")

    def test_attributes_that_are_not_text(self):
        pool = node("MaxPool", "x", "y", kernel_shape=[2], auto_pad="NOTSET")
        next(one for one in pool.attribute if one.name == "auto_pad").s = b"\xff\xfe"
        refused(model([pool]), "auto_pad")


class TestNames:
    def test_circles(self):
        refused(
            model([node("Add", "x,b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")]), "'b'", "nothing before"
        )

    def test_names_that_nothing_makes(self):
        refused(model([node("Relu", "z", "y")]), "'z'")

    def test_tensors_made_twice(self):
        refused(model([node("Relu", "x", "y"), node("Relu", "x", "y")]), "'y'", "twice")
        refused(model([node("Relu", "x", "x")], outputs=("x",)), "'x'", "twice")

    def test_inputs_with_one_name(self):
        refused(model([node("Add", "x,x", "y")], inputs=("x", "x")), "one name")

    def test_inputs_that_must_be_there(self):
        refused(model([node("Relu", "", "y")]), "Relu")
        refused(model([node("Add", "x,", "y")]), "Add", inputs=[floats(3)])

    def test_inputs_that_must_be_there_when_folding(self):
        norm = node("BatchNormalization", "c,,b,b,b", "y")
        refused(model([node("Conv", "x,", "c"), norm], constants={"b": floats(1)}), "Conv", "left out")
        refused(model([node("Pad", "x,", "a"), node("Conv", "a,w", "y")], constants=FILTERS), "Pad", "left out")

    def test_constants_that_do_not_fit_when_folding(self):
        text = {"w": floats(1, 1, 3, 3), "b": np.float32([1]), "p": np.float32([1.5, 2])}
        refused(model([node("Pad", "x,p", "a"), node("Conv", "a,w", "y")], constants=text), "Pad", inputs=X)
        text["p"] = np.int64(3)
        refused(model([node("Pad", "x,p", "a"), node("Conv", "a,w", "y")], constants=text), "do not fit")
        nodes = [node("Conv", "x,w", "c", group=0), node("BatchNormalization", "c,b,b,b,b", "y")]
        refused(model(nodes, constants=text), "Conv", inputs=X)

    def test_endless_names_are_cut(self):
        refused(model([node("Relu", "z" * 100_000, "y")]), "zzz")
        refused(model([node("A" * 100_000, "x", "y")]), "AAA")
        names = [f"a{i}" for i in range(100)]
        many = [node(f"Op{i}", "x", name) for i, name in enumerate(names)]
        refused(model([*many, node("Sum", ",".join(names), "y")]), "100 in all")

    def test_more_operators_than_any_network(self, monkeypatch):
        monkeypatch.setattr(onnx_import, "MOST_NODES", 2)
        refused(model([node("Relu", "x", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")]), "3 operators")


LONG = {"a": np.zeros((1 << 15, 1), np.float32), "b": np.zeros((1, 1 << 15), np.float32)}
GROWING = {
    "ConstantOfShape": (node("ConstantOfShape", "s", "y"), {"s": INTS([HUGE])}),
    "ConstantOfShape by many axes": (node("ConstantOfShape", "s", "y"), {"s": INTS([1 << 20] * 8)}),
    "Expand": (node("Expand", "x,s", "y"), {"s": INTS([HUGE, 1, 8, 8])}),
    "Tile": (node("Tile", "x,s", "y"), {"s": INTS([1, 1, HUGE, HUGE])}),
    "Pad": (node("Pad", "x,s", "y"), {"s": INTS([0, 0, HUGE, 0, 0, 0, 0, HUGE])}),
    "Pad by reflection": (node("Pad", "x,s", "y", mode="reflect"), {"s": INTS([0, 0, HUGE, 0, 0, 0, 0, 0])}),
    "Resize by scales": (node("Resize", "x,,f", "y", mode="nearest"), {"f": np.float32([1, 1, 1e9, 1e9])}),
    "Resize to sizes": (node("Resize", "x,,,s", "y", mode="linear"), {"s": INTS([1, 1, HUGE, HUGE])}),
    "Resize by infinity": (node("Resize", "x,,f", "y", mode="cubic"), {"f": np.float32([1, 1, np.inf, np.nan])}),
    "Range": (node("Range", "a,b,c", "y"), {"a": INTS(0), "b": INTS(HUGE), "c": INTS(1)}),
    "Range by nothing": (node("Range", "a,b,c", "y"), {"a": INTS(0), "b": INTS(5), "c": INTS(0)}),
    "Gather": (node("Gather", "x,s", "y"), {"s": INTS([HUGE])}),
    "Conv": (node("Conv", "x,w", "y", pads=[HUGE] * 4), FILTERS),
    "Conv of nothing": (node("Conv", "x,w", "y"), {"w": floats(1, 0, 3, 3)}),
    "ConvTranspose": (node("ConvTranspose", "x,w", "y", strides=[1 << 20] * 2), FILTERS),
    "ConvTranspose to a shape": (node("ConvTranspose", "x,w", "y", output_shape=[HUGE] * 2), FILTERS),
    "MaxPool": (node("MaxPool", "x", "y", kernel_shape=[1, 1], pads=[HUGE] * 4), {}),
    "AveragePool": (node("AveragePool", "x", "y", kernel_shape=[HUGE, 1], pads=[HUGE, 0, HUGE, 0]), {}),
    "Add": (
        node("Add", "a,b", "y"),
        LONG,
    ),
    "MatMul": (
        node("MatMul", "a,b", "y"),
        LONG,
    ),
    "Reshape": (node("Reshape", "x,s", "y"), {"s": INTS([HUGE, -1])}),
    "Unsqueeze": (node("Unsqueeze", "x,s", "y"), {"s": np.arange(100)}),
    "Split": (node("Split", "x,s", "y", axis=2), {"s": INTS([HUGE])}),
    "OneHot": (node("OneHot", "x,a,b", "y"), {"a": INTS([HUGE]), "b": np.float32([0, 1])}),
    "Cast": (node("Cast", "x", "y", to=8), {}),
    "Slice": (node("Slice", "x,a,b,c,d", "y"), {"a": INTS([0]), "b": INTS([HUGE]), "c": INTS([2]), "d": INTS([0])}),
    "Concat": (node("Concat", "x,a", "y", axis=7), {"a": floats(1)}),
    "LRN": (node("LRN", "x", "y", size=-3), {}),
    "Transpose": (node("Transpose", "x", "y", perm=[0, 0, 1, 2]), {}),
    "GroupNormalization": (node("GroupNormalization", "x,a,a", "y", num_groups=0), {"a": floats(1)}),
    "DepthToSpace": (node("DepthToSpace", "x", "y", blocksize=0), {}),
}


@pytest.mark.parametrize("name", GROWING)
def test_an_operator_that_would_harm_is_refused_by_name(name):
    harmful, constants = GROWING[name]
    opset = 21 if name == "GroupNormalization" else 17
    refused(model([harmful], constants=constants, opset=opset), name.split()[0], inputs=X)


@pytest.mark.parametrize(
    "op", ["ReduceMean", "GlobalAveragePool", "GlobalMaxPool", "ArgMax", "MaxPool", "Conv", "Resize"]
)
def test_nothing_at_all_has_no_mean(op):
    attributes = {"kernel_shape": [1, 1]} if op == "MaxPool" else {}
    names = {"Conv": "x,w", "Resize": "x,,f"}.get(op, "x")
    made = model([node(op, names, "y", **attributes)], constants={**FILTERS, "f": np.float32([1, 1, 2, 2])})
    refused(made, op, inputs=[np.zeros((0, 1, 8, 0), np.float32)])


def test_windows_wider_than_memory_are_refused():
    far = {"pads": [1 << 28] * 4, "dilations": [1 << 28] * 2}
    refused(
        model([node("Conv", "x,w", "y", group=2, **far)], constants={"w": floats(2, 1, 3, 3)}),
        "MiB",
        inputs=[floats(1, 2, 8, 8)],
    )
    pool = node("MaxPool", "x", "y", kernel_shape=[1 << 13] * 2, pads=[1 << 12] * 4)
    refused(model([pool]), "MaxPool", "MiB", inputs=X)


def test_tensors_that_double_at_every_step_end_in_time(monkeypatch):
    monkeypatch.setattr(sizes, "MOST_BYTES", 1 << 20)
    nodes = [node("Concat", f"x{i},x{i}", f"x{i + 1}", axis=0) for i in range(40)]
    refused(model(nodes, ("x0",), ("x40",)), "Concat", "beyond 1 MiB", inputs=X)


def test_all_tensors_together_are_bounded(monkeypatch):
    monkeypatch.setattr("pipeline.network.execute.MOST_LIVE_BYTES", 10_000)
    nodes = [node("Exp", "x", f"a{i}") for i in range(50)] + [node("Sum", ",".join(f"a{i}" for i in range(50)), "y")]
    refused(model(nodes), "smaller tiles", inputs=X)


def test_constants_together_are_bounded(monkeypatch):
    monkeypatch.setattr("pipeline.network.onnx_fold.MOST_COMPUTED_BYTES", 10_000)
    nodes = [node("ConstantOfShape", "s", f"a{i}") for i in range(50)]
    nodes.append(node("Sum", ",".join(["x", *(f"a{i}" for i in range(50))]), "y"))
    refused(model(nodes, constants={"s": INTS([100])}), "constants")


HONEST = model(
    [
        node("Conv", "x,w,b", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a,b,b,b,v", "n"),
        node("Relu", "n", "r"),
        node("Resize", "r,,f", "u", mode="linear"),
        node("Concat", "u,u", "c", axis=1),
        node("ReduceMean", "c", "m", axes=[2, 3]),
        node("Reshape", "m,s", "y"),
    ],
    constants={
        "w": floats(4, 1, 3, 3),
        "b": floats(4),
        "v": np.ones(4, np.float32),
        "f": np.float32([1, 1, 2, 2]),
        "s": INTS([-1]),
    },
)
BYTES = HONEST.SerializeToString()


CHANGE = st.tuples(st.integers(0, len(BYTES) - 1), st.integers(0, 255))


def outcome(content):
    """What becomes of a model: its outputs, or one line."""
    try:
        onnx_wire.check(content)
        return run(onnx.load_model_from_string(content), X)
    except TerrasketchError as error:
        return str(error)
    except DecodeError:
        return "not a model"


@settings(max_examples=1000)
@given(st.lists(CHANGE, min_size=1, max_size=4), st.integers(0, 40))
def test_a_damaged_model_is_read_or_refused(changes, lost):
    content = bytearray(BYTES)
    for place, value in changes:
        content[place] = value
    found = outcome(bytes(content[: len(content) - max(0, lost - 20)]))
    assert isinstance(found, list) or "\n" not in found


def test_an_attribute_that_refers_to_a_function_s():
    made = model([node("LeakyRelu", "x", "y", alpha=0.1)])
    made.graph.node[0].attribute[0].ref_attr_name = "slope"
    refused(made, "alpha")


def test_an_input_that_is_a_sequence():
    made = model([node("Relu", "x", "y")])
    made.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None))
    refused(made, "'x'", "not a tensor")

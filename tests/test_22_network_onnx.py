"""Reading models: what is cut, folded and dropped, and what is refused by name in one line."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import floats, model, node

from pipeline.errors import ModelError
from pipeline.network.execute import Network
from pipeline.network.graph import Graph, Node
from pipeline.network.onnx_fold import fold
from pipeline.network.onnx_import import load, read, run


def normed(op, filters, groups=1, bias=None):
    """A convolution and a batch norm after it."""
    count = filters.shape[0] if op == "Conv" else filters.shape[1] * groups
    rng = np.random.default_rng(7)
    constants = {"w": filters, "gamma": floats(count), "beta": floats(count, seed=1), "mean": floats(count, seed=2)}
    constants["variance"] = rng.uniform(0.5, 2, count).astype(np.float32)
    inputs = "x,w"
    if bias is not None:
        constants["b"], inputs = bias, "x,w,b"
    nodes = [
        node(op, inputs, "c", group=groups),
        node("BatchNormalization", "c,gamma,beta,mean,variance", "y", epsilon=1e-3),
    ]
    return model(nodes, constants=constants)


def as_it_is(made):
    """The graph of a model with nothing folded."""
    nodes = [
        Node(n.op_type, tuple(n.input), tuple(n.output), {a.name: helper.get_attribute_value(a) for a in n.attribute})
        for n in made.graph.node
    ]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    return Graph(("x",), ("y",), tuple(nodes), constants, 17)


class TestReading:
    def test_attributes_are_plain_values(self):
        shape = {"pads": [1, 2, 3, 4], "auto_pad": "NOTSET"}
        (read_node,) = read(model([node("Conv", "x,w", "y", **shape)], constants={"w": floats(2, 3, 3, 3)})).nodes
        assert read_node == Node("Conv", ("x", "w"), ("y",), {"pads": [1, 2, 3, 4], "auto_pad": "NOTSET"})

    def test_constant_nodes_and_what_depends_on_them_become_constants(self):
        nodes = [
            helper.make_node("Constant", [], ["a"], value_floats=[1.0, 2.0]),
            node("Mul", "a,b", "c"),
            node("Add", "x,c", "y"),
        ]
        graph = read(model(nodes, constants={"b": np.float32([10, 100])}))
        assert [one.op for one in graph.nodes] == ["Add"]
        assert list(graph.constants) == ["c"]
        assert graph.constants["c"].tolist() == [10, 200]

    def test_identity_and_dropout_are_passed_over(self):
        nodes = [
            node("Identity", "x", "a"),
            node("Dropout", "a", "b"),
            node("Relu", "b", "c"),
            node("Identity", "c", "y"),
        ]
        graph = read(model(nodes))
        assert [(one.op, one.inputs) for one in graph.nodes] == [("Relu", ("x",)), ("Identity", ("c",))]
        assert Network(graph)(np.float32([-1, 2]))[0].tolist() == [0, 2]

    def test_a_dropout_whose_mask_alone_is_used_renames_nothing(self):
        nodes = [node("Dropout", "x", ",m"), node("Clip", "x,,c", "y"), node("Cast", "m", "z", to=TensorProto.FLOAT)]
        made = run(model(nodes, outputs=("y", "z"), constants={"c": np.float32(1)}), [np.float32([-3, 3])])
        assert [value.tolist() for value in made] == [[-3, 1], [1, 1]]

    def test_an_identity_without_a_name_renames_nothing(self):
        nodes = (Node("Identity", ("x",), ("",), {}), Node("Clip", ("x", "", "c"), ("y",), {}))
        (last,) = fold(Graph(("x",), ("y",), nodes, {"c": np.float32(1)}, 17)).nodes
        assert last.inputs == ("x", "", "c")

    def test_inputs_that_have_a_value_are_constants(self):
        graph = read(model([node("Add", "x,b", "y")], inputs=("x", "b"), constants={"b": np.float32([1])}))
        assert graph.inputs == ("x",)

    def test_a_cut_names_any_tensor_and_drops_the_rest(self):
        nodes = [
            node("Relu", "x", "a"),
            node("Identity", "a", "b"),
            node("Loop", ",,b", "y", body=helper.make_graph([], "g", [], [])),
        ]
        graph = read(model(nodes), outputs=["b"])
        assert graph.outputs == ("b",)
        assert Network(graph)(np.float32([-1, 2]))[0].tolist() == [0, 2]

    def test_a_constant_cast_like_a_float_tensor_is_a_constant(self):
        nodes = [node("Relu", "x", "a"), node("CastLike", "c,a", "d"), node("Add", "a,d", "y")]
        graph = read(model(nodes, constants={"c": np.float64([1])}))
        assert [one.op for one in graph.nodes] == ["Relu", "Add"]
        assert graph.constants["d"].dtype == np.float32

    def test_a_file_reads_as_its_model(self, tmp_path):
        made = normed("Conv", floats(4, 3, 3, 3))
        onnx.save(made, tmp_path / "network.onnx")
        x = floats(1, 3, 8, 8)
        assert (Network(load(tmp_path / "network.onnx"))(x)[0] == run(made, [x])[0]).all()


class TestNorms:
    @pytest.mark.parametrize("bias", [None, floats(6, seed=3)], ids=["no bias", "bias"])
    @pytest.mark.parametrize(
        ("op", "shape", "groups"),
        [
            ("Conv", (6, 4, 3, 3), 1),
            ("Conv", (6, 2, 3, 3), 2),
            ("ConvTranspose", (4, 6, 2, 2), 1),
            ("ConvTranspose", (4, 3, 2, 2), 2),
        ],
    )
    def test_a_batch_norm_is_folded_into_the_convolution_before_it(self, op, shape, groups, bias):
        made = normed(op, floats(*shape), groups, bias)
        graph, x = read(made), floats(2, 4, 9, 8)
        assert [one.op for one in graph.nodes] == [op]
        plain = as_it_is(made)
        np.testing.assert_allclose(Network(graph)(x)[0], Network(plain)(x)[0], rtol=1e-5, atol=1e-5)

    def test_a_convolution_that_another_node_sees_keeps_its_norm(self):
        made = normed("Conv", floats(6, 4, 3, 3))
        made.graph.output.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, None))
        assert [one.op for one in read(made).nodes] == ["Conv", "BatchNormalization"]

    def test_names_of_the_file_are_not_overwritten(self):
        made = normed("Conv", floats(6, 4, 3, 3))
        made.graph.initializer.append(numpy_helper.from_array(np.float32([5]), "y filters"))
        made.graph.node.append(node("Mul", "y,y filters", "z"))
        made.graph.output[0].name = "z"
        x = floats(1, 4, 5, 5)
        np.testing.assert_allclose(run(made, [x])[0], 5 * run(normed("Conv", floats(6, 4, 3, 3)), [x])[0], rtol=1e-6)

    def test_folding_takes_a_graph_made_by_hand(self):
        graph = Graph(("x",), ("y",), (Node("Identity", ("x",), ("a",), {}), Node("Relu", ("a",), ("y",), {})), {}, 17)
        assert [one.inputs for one in fold(graph).nodes] == [("x",)]


class TestPads:
    def both(self, nodes, constants, opset=17):
        graph = read(model(nodes, constants={"w": floats(2, 3, 3, 3), **constants}, opset=opset))
        x = floats(1, 3, 8, 9)
        constant, sides = constants.get("v", 0), np.reshape(constants.get("p", [0, 0, 1, 0, 0, 0, 2, 3]), (2, -1)).T
        padded = np.pad(x, np.maximum(sides, 0), constant_values=constant)
        expected = run(model([node("Conv", "x,w", "y")], constants={"w": floats(2, 3, 3, 3)}), [padded])[0]
        np.testing.assert_allclose(Network(graph)(x)[0], expected, rtol=1e-5, atol=1e-5)
        return [one.op for one in graph.nodes]

    def test_zeros_become_the_convolution_s_own(self):
        sides = np.int64([0, 0, 1, 0, 0, 0, 2, 3])
        nodes = [node("Pad", "x,p", "a"), node("Conv", "a,w", "y")]
        assert self.both(nodes, {"p": sides}) == ["Conv"]
        assert self.both(nodes, {"p": sides, "v": np.float32(0)}) == ["Conv"]
        valid = [nodes[0], node("Conv", "a,w", "y", auto_pad="VALID")]
        assert self.both(valid, {"p": sides}) == ["Conv"]

    def test_and_those_of_old_opsets(self):
        nodes = [node("Pad", "x", "a", pads=[0, 0, 1, 0, 0, 0, 2, 3]), node("Conv", "a,w", "y")]
        assert self.both(nodes, {}, opset=9) == ["Conv"]

    def test_anything_else_stays(self):
        sides = np.int64([0, 0, 1, 0, 0, 0, 2, 3])
        nodes = [node("Pad", "x,p,v", "a"), node("Conv", "a,w", "y")]
        assert self.both(nodes, {"p": sides, "v": np.float32(2)}) == ["Pad", "Conv"]
        for mode in ("edge", "reflect"):
            graph = read(
                model([node("Pad", "x,p", "a", mode=mode), nodes[1]], constants={"w": floats(2, 3, 3, 3), "p": sides})
            )
            assert [one.op for one in graph.nodes] == ["Pad", "Conv"]
        crop = {"w": floats(2, 3, 3, 3), "p": np.int64([0, 0, -1, 0, 0, 0, 0, 0])}
        assert len(read(model([node("Pad", "x,p", "a"), nodes[1]], constants=crop)).nodes) == 2
        wide = {"w": floats(2, 4, 3, 3), "p": np.int64([0, 1, 0, 0, 0, 0, 0, 0])}
        assert len(read(model([node("Pad", "x,p", "a"), nodes[1]], constants=wide)).nodes) == 2

    def test_what_another_node_sees_is_still_there(self):
        sides = np.int64([0, 0, 1, 0, 0, 0, 2, 3])
        seen = [node("Pad", "x,p", "a"), node("Conv", "a,w", "y"), node("Relu", "a", "z")]
        made = model(seen, outputs=("y", "z"), constants={"w": floats(2, 3, 3, 3), "p": sides})
        y, z = run(made, [floats(1, 3, 8, 9)])
        assert y.shape == (1, 2, 9, 10)
        assert z.shape == (1, 3, 11, 12)

    def test_padding_adds_up(self):
        nodes = [node("Pad", "x,p", "a"), node("Conv", "a,w", "y", pads=[1, 1, 0, 0])]
        (conv,) = read(model(nodes, constants={"w": floats(2, 3, 3, 3), "p": np.int64([0, 0, 1, 0, 0, 0, 2, 3])})).nodes
        assert conv.attributes["pads"] == [2, 1, 2, 3]


class TestRefusals:
    def refused(self, made, *words, outputs=None):
        with pytest.raises(ModelError) as caught:
            read(made, outputs)
        assert "\n" not in str(caught.value)
        assert all(re.search(word, str(caught.value)) for word in words), str(caught.value)

    def test_operators_by_name(self):
        self.refused(model([node("Hardmax", "x", "a"), node("Det", "a", "y")]), "Det, Hardmax")

    @pytest.mark.parametrize("op", ["If", "Loop", "Scan"])
    def test_operators_with_graphs_inside(self, op):
        self.refused(model([node(op, "x", "y", body=helper.make_graph([], "g", [], []))]), op)

    def test_other_domains_by_name(self):
        self.refused(
            model([helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft")]), r"com\.microsoft\.FusedConv"
        )

    def test_our_own_fused_operator_is_not_one_of_onnx_s(self):
        self.refused(model([node("FusedConv", "x,w", "y")], constants={"w": floats(2, 3, 3, 3)}), "FusedConv")

    def test_attributes_by_name(self):
        self.refused(model([node("Relu", "x", "y", slope=0.1)]), "Relu", "slope")
        self.refused(model([node("MaxPool", "x", "y")]), "MaxPool", "kernel_shape", "missing")
        self.refused(model([node("MaxPool", "x", "y", kernel_shape=2.0)]), "kernel_shape", "type")

    def test_attributes_of_later_opsets(self):
        self.refused(
            model([node("AveragePool", "x", "y", kernel_shape=[2, 2], dilations=[2, 2])], opset=11), "dilations"
        )

    def test_a_wrong_number_of_inputs(self):
        self.refused(model([node("Relu", "x,x", "y")]), "Relu", "2 inputs")

    def test_versions_of_onnx_that_are_not_known(self):
        self.refused(model([node("Relu", "x", "y")], opset=99), "opset 99")
        self.refused(onnx.ModelProto(), "not an ONNX model")

    def test_withdrawn_operators(self):
        self.refused(
            model([node("Upsample", "x,s", "y")], opset=13, constants={"s": np.float32([1])}), "Upsample", "withdrawn"
        )

    def test_element_types_by_name(self):
        self.refused(model([node("Add", "x,h", "y")], constants={"h": np.float16([1])}), "FLOAT16", "'h'")
        self.refused(model([node("Relu", "x", "y")], kind=TensorProto.BFLOAT16), "BFLOAT16")

    def test_tensors_that_are_not_there(self):
        self.refused(model([node("Relu", "x", "y")]), "'z'", "outputs are y", outputs=["z"])
        self.refused(model([node("Relu", "x", "a")]), "'y'")

    def test_sparse_tensors(self):
        made = model([node("Relu", "x", "y")])
        made.graph.sparse_initializer.add()
        self.refused(made, "sparse")

    def test_training(self):
        nodes = [node("Dropout", "x,r,t", "y")]
        made = model(nodes, constants={"r": np.float32(0.5), "t": np.bool_(True)})
        with pytest.raises(ModelError, match=r"Dropout.*training"):
            run(made, [floats(3)])

    def test_inputs_that_do_not_fit(self):
        made = model([node("Conv", "x,w", "y")], constants={"w": floats(2, 3, 3, 3)})
        for x, words in ((floats(1, 4, 8, 8), "4 channels"), (floats(1, 3, 2, 2), "do not fit"), (floats(3), "Conv")):
            with pytest.raises(ModelError, match=words):
                run(made, [x])
        with pytest.raises(ModelError, match="takes 1 inputs, got 2"):
            run(made, [floats(3), floats(3)])
        with pytest.raises(ModelError, match="float64"):
            run(made, [np.zeros((1, 3, 8, 8))])

"""Fusing and running: fused = unfused to 1e-5, only where nothing else sees, and tensors let go in time."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from onnx_models import floats, model, node

from pipeline.errors import ModelError
from pipeline.network.execute import Network
from pipeline.network.fuse import fuse
from pipeline.network.onnx_import import read

W = {"w": floats(4, 3, 3, 3), "b": floats(4, seed=1), "v": floats(4, 3, 1, 1, seed=2)}
CONV = node("Conv", "x,w,b", "c", pads=[1, 1, 1, 1])
SIDE = node("Conv", "x,v", "s")
X = floats(2, 3, 7, 9, seed=3)
BOUNDS = {
    "none": ([], {}, 17),
    "relu": ([node("Relu", "a", "y")], {}, 17),
    "clip": ([node("Clip", "a,l,h", "y")], {"l": np.float32(-0.5), "h": np.float32(0.5)}, 17),
    "clip below": ([node("Clip", "a,l", "y")], {"l": np.float32(0.1)}, 17),
    "clip above": ([node("Clip", "a,,h", "y")], {"h": np.float32(0.1)}, 17),
    "clip of old": ([node("Clip", "a", "y", min=-0.25, max=6.0)], {}, 10),
}
SUMS = {
    "none": [node("Identity", "c", "a")],
    "with a map": [SIDE, node("Add", "c,s", "a")],
    "of a map": [SIDE, node("Add", "s,c", "a")],
    "with the input of a pool": [node("GlobalAveragePool", "s", "p"), node("Add", "c,p", "a")],
    "with a constant": [node("Add", "c,k", "a")],
    "with itself": [node("Add", "c,c", "a")],
}


def agree(made, *inputs, steps=None):
    graph = read(made)
    fused, single = Network(graph), Network(graph, fused=False)
    for ours, plain in zip(fused(*inputs), single(*inputs), strict=True):
        assert ours.shape == plain.shape
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5)
    if steps is not None:
        assert len(fused) == steps
    return graph


@pytest.mark.parametrize(("summed", "bounded"), list(itertools.product(SUMS, BOUNDS)))
def test_fused_is_unfused(summed, bounded):
    bounds, constants, opset = BOUNDS[bounded]
    middle = SUMS[summed]
    if summed == "with the input of a pool":
        middle = [SIDE, *middle]
    constants = {**W, **constants, "k": floats(1, 4, 1, 1, seed=4)}
    nodes = [CONV, *middle, *bounds]
    agree(model(nodes, outputs=("y" if bounds else "a",), constants=constants, opset=opset), X)


def test_a_residual_block_is_two_steps():
    nodes = [CONV, SIDE, node("Add", "c,s", "a"), node("Relu", "a", "y")]
    graph = agree(model(nodes, constants=W), X, steps=2)
    (last,) = [one for one in fuse(graph).nodes if one.op == "FusedConv"]
    assert last.inputs == ("x", "v", "", "c")
    assert (last.attributes["floor"], last.attributes["ceiling"]) == (0.0, np.inf)


def test_a_constant_joins_the_bias():
    nodes = [node("Conv", "x,w", "c"), node("Add", "c,k", "a"), node("Relu", "a", "y")]
    for shape in ((4, 1, 1), (1, 4, 1, 1)):
        agree(model(nodes, constants={**W, "k": floats(*shape)}), X, steps=1)
    agree(model(nodes, constants={**W, "k": floats(1, 1, 1, 7)}), X)


@pytest.mark.parametrize("seen", ["c", "a"])
def test_what_another_node_sees_stays(seen):
    nodes = [CONV, SIDE, node("Add", "c,s", "a"), node("Relu", "a", "y"), node("Exp", seen, "z")]
    agree(model(nodes, outputs=("y", "z"), constants=W), X)


@pytest.mark.parametrize("seen", ["c", "a"])
def test_what_is_an_output_stays(seen):
    nodes = [CONV, SIDE, node("Add", "c,s", "a"), node("Relu", "a", "y")]
    agree(model(nodes, outputs=("y", seen), constants=W), X)


def test_bounds_one_after_the_other():
    nodes = [CONV, node("Relu", "c", "r"), node("Clip", "r,l,h", "y")]
    agree(model(nodes, constants={**W, "l": np.float32(-1), "h": np.float32(0.2)}), X)


def test_bounds_before_the_sum_stay_before_it():
    nodes = [CONV, SIDE, node("Relu", "c", "r"), node("Add", "r,s", "a"), node("Relu", "a", "y")]
    agree(model(nodes, constants=W), X)


def test_bounds_that_are_computed_stay():
    nodes = [CONV, node("ReduceMax", "x", "h", keepdims=0), node("Clip", "c,,h", "y")]
    agree(model(nodes, constants=W), X)


def test_depthwise_steps_fuse_too():
    constants = {"w": floats(3, 1, 3, 3), "b": floats(3)}
    nodes = [node("Conv", "x,w,b", "c", group=3, pads=[1, 1, 1, 1]), node("Add", "c,x", "a"), node("Relu", "a", "y")]
    agree(model(nodes, constants=constants), X, steps=1)


def test_only_what_is_wanted_runs():
    nodes = [CONV, node("Relu", "c", "r"), node("Exp", "r", "y")]
    network = Network(read(model(nodes, constants=W)), outputs=("r",))
    assert network.outputs == ("r",)
    assert len(network) == 1
    assert (network(X)[0] >= 0).all()
    with pytest.raises(ModelError, match="'q'"):
        Network(read(model(nodes, constants=W)), outputs=("q",))


def test_tensors_are_let_go_when_nothing_needs_them():
    nodes = [node("Exp" if i % 2 else "Neg", f"x{i}", f"x{i + 1}") for i in range(20)]
    network, x = Network(read(model(nodes, ("x0",), ("x20",)))), floats(1 << 18)
    network(x)
    tracemalloc.start()
    network(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5 * x.nbytes


def test_weights_do_not_follow_a_caller_s_changes():
    graph = read(model([CONV], outputs=("c",), constants=W))
    network = Network(graph)
    before = network(X)[0]
    again = network(X)[0]
    again[:] = 0
    assert (network(X)[0] == before).all()


@pytest.mark.parametrize(("start", "end", "step"), [(0, 1 << 40, 2), (-1, -(1 << 40), -1)])
def test_a_sum_with_every_other_column_or_back_to_front(start, end, step):
    """The summand is a view, whose rows are not runs of memory."""
    parts = {"f": [start], "t": [end], "a": [3], "s": [step]}
    nodes = [node("Slice", "x,f,t,a,s", "e"), node("Conv", "e,w", "c", pads=[1] * 4), node("Add", "c,e", "y")]
    agree(model(nodes, constants={"w": floats(3, 3, 3, 3), **parts}), X, steps=2)

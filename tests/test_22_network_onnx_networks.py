"""Whole networks exported from torch, against what onnxruntime made of them (recorded; neither is needed here)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_networks import filled, image, unpacked

from pipeline.network.execute import Network
from pipeline.network.graph import Graph
from pipeline.network.onnx_import import read

FIXTURES = sorted((Path(__file__).parent / "fixtures" / "onnx").glob("*.npz"))


def recorded(path: Path) -> tuple[Graph, np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        seed = int(stored["seed"])
        model = filled(unpacked(stored["model"].tobytes()), seed)
        return read(model), image(tuple(stored["shape"]), seed), stored["expected"]


@pytest.fixture(scope="module", params=FIXTURES, ids=lambda path: path.stem)
def network(request):
    return recorded(request.param)


def test_a_network_agrees_with_onnxruntime(network):
    graph, x, expected = network
    (made,) = Network(graph)(x)
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() <= 1e-4 * expected.std()


def test_no_batch_norm_is_left(network):
    assert not {node.op for node in network[0].nodes} & {"BatchNormalization", "Identity", "Dropout", "Constant"}


def test_fused_steps_make_what_single_ones_do(network):
    graph, x, _ = network
    fused, single = Network(graph), Network(graph, fused=False)
    assert len(fused) < len(single)
    np.testing.assert_allclose(fused(x)[0], single(x)[0], rtol=1e-5, atol=1e-5)


def test_the_same_input_gives_the_same_bytes(network):
    graph, x, _ = network
    first, again = Network(graph), Network(graph)
    assert first(x)[0].tobytes() == first(x.copy())[0].tobytes() == again(x)[0].tobytes()


def test_a_batch_is_its_images_one_by_one(network):
    graph, x, _ = network
    run = Network(graph)
    singly = np.concatenate([run(x[i : i + 1])[0] for i in range(len(x))])
    np.testing.assert_allclose(run(x)[0], singly, rtol=1e-4, atol=1e-5)


def test_the_fixtures_are_the_networks_that_are_promised_and_small():
    names = {path.stem for path in FIXTURES}
    families = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0", "vgg", "unet_transpose", "unet_bilinear")
    assert all(any(name.startswith(family) for name in names) for family in families)
    assert sum(path.stat().st_size for path in FIXTURES) < 1 << 20

"""A network as a bank: its cells against the whole map, whatever the tiles; nodata, strides, pools, anchored blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BankError, BlockError, ModelError
from pipeline.grid import Grid, Window
from pipeline.network import network_bank, network_features
from pipeline.network.execute import Network
from pipeline.network.network_bank import NetworkBank, split, wanted_tensor
from pipeline.network.network_features import anchored, network_block, network_window
from pipeline.network.onnx_import import load
from tests.reference_network import Builder
from tests.tiny_models import small_resnet, small_unet, write_model

SHAPE = (83, 70)


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NetworkBank]:
    """Of 2 bands with mean 5, 7 and std 2, 3."""
    folder = tmp_path_factory.mktemp("models")
    b = Builder(2)
    b.conv(b.conv("x", 5, pads=[0] * 4), 5, pads=[0] * 4)
    models = {
        "add_5": small_resnet(folder / "resnet.onnx", 2),
        "conv_6": small_unet(folder / "unet.onnx", 2),
        "conv_1": write_model(folder / "unpadded.onnx", b.graph(), 2),
    }
    mean, std = np.array([5.0, 7.0]), np.array([2.0, 3.0])
    return {path.stem: NetworkBank(path, tensor, ("a", "b"), mean, std) for tensor, path in models.items()}


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    block = np.random.default_rng(seed).normal(6, 2, (2, *SHAPE))
    valid = np.ones(SHAPE, bool)
    valid[20:29, 33:40] = False
    block[1, 60, 5] = np.nan
    return block, valid


def in_tiles(bank: NetworkBank, tile: int, pool: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The map of `scene`, from blocks that hold just what `network_window` asks for."""
    block, valid = scene()
    cells = [-(-length // stride) for length in SHAPE]
    features, whole = np.full((bank.field.channels, *cells), 9.0, np.float32), np.zeros(cells, bool)
    for one in Grid(*SHAPE, tile):
        outer = network_window(bank, pool, stride, one.window, SHAPE)
        part = tuple(slice(low // stride, -(-high // stride)) for low, high in network_features._sides(one.window))
        features[:, *part], whole[part] = network_block(
            block[:, *outer.slices],
            valid[outer.slices],
            bank,
            pool=pool,
            stride=stride,
            window=one.window,
            outer=outer,
            scene_shape=SHAPE,
        )
    return features, whole


def places(bank: NetworkBank) -> np.ndarray:
    """The tensor of the whole scene, by our engine at once: z-scores, zeros where not valid and up to an even size."""
    block, valid = scene()
    usable = valid & np.isfinite(block).all(axis=0)
    z = (block - bank.mean[:, None, None]) / bank.std[:, None, None]
    seen = np.zeros((1, 2, *(length + length % 2 for length in SHAPE)), np.float32)
    seen[0, :, : SHAPE[0], : SHAPE[1]] = np.where(usable, z, 0)
    return Network(load(bank.model))(seen)[0][0]


def test_cells_of_the_tensors_own_stride_are_its_places(banks: dict[str, NetworkBank]) -> None:
    block, valid = scene()
    usable = valid & np.isfinite(block).all(axis=0)
    for name, stride in (("resnet", 4), ("unet", 1)):
        bank = banks[name]
        assert bank.settled(None, None) == (stride, stride)
        features, whole = in_tiles(bank, 512, stride, stride)
        cells = [-(-length // stride) for length in SHAPE]
        wanted = places(bank)[:, : cells[0], : cells[1]]
        np.testing.assert_array_equal(features[:, whole], wanted[:, whole])
        assert np.isnan(features[:, ~whole]).all()
        padded = np.pad(usable, [(0, -length % stride) for length in SHAPE], constant_values=True)
        assert np.array_equal(whole, padded.reshape(cells[0], stride, cells[1], stride).all(axis=(1, 3)))


@settings(max_examples=40)
@given(
    name=st.sampled_from(["resnet", "unet", "unpadded"]),
    tile=st.integers(1, 12),
    each=st.integers(1, 3),
    taken=st.integers(1, 5),
)
def test_cells_do_not_depend_on_the_tiles(
    banks: dict[str, NetworkBank], name: str, tile: int, each: int, taken: int
) -> None:
    bank = banks[name]
    s = int(bank.field.stride[0])
    pool, stride = taken * s, each * s
    wanted, whole = in_tiles(bank, 16 * 9 * s * each, pool, stride)
    got, here = in_tiles(bank, 4 * tile * stride, pool, stride)
    assert np.array_equal(whole, here)
    assert whole.any()
    assert np.abs(got - wanted)[:, whole].max() <= 1e-5 * np.abs(wanted[:, whole]).max()


def test_a_cell_is_the_mean_of_the_places_of_its_pool(banks: dict[str, NetworkBank]) -> None:
    features, whole = in_tiles(banks["resnet"], 32, 12, 8)
    wanted = places(banks["resnet"]).astype(float)
    # Cell (2, 3) takes places 4..5 and 6..7 of a stride of 2; a pool of 3 begins (2 - 3) // 2 = 1 before.
    assert whole[4, 1]
    np.testing.assert_allclose(features[:, 4, 1], wanted[:, 7:10, 1:4].mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(features[:, 0, 0], wanted[:, :2, :2].mean(axis=(1, 2)), rtol=1e-5)
    assert not whole[2, 4]


def test_a_network_without_pads_leaves_the_rim_empty(banks: dict[str, NetworkBank]) -> None:
    features, whole = in_tiles(banks["unpadded"], 16, 1, 1)
    inside = whole[4:-4, 4:-4]
    assert np.array_equal(inside, scene()[1][4:-4, 4:-4] & np.isfinite(scene()[0][1, 4:-4, 4:-4]))
    assert whole.sum() == inside.sum()
    np.testing.assert_allclose(
        features[:, 4:-4, 4:-4][:, inside],
        places(banks["unpadded"])[:, : SHAPE[0] - 8, : SHAPE[1] - 8][:, inside],
        rtol=1e-5,
    )


def test_anchored_blocks_give_the_same_bits_for_every_tile(
    banks: dict[str, NetworkBank], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an engine whose rounding depends on the size of the block, as BLAS's may."""
    real = network_bank._network

    def uneven(*words: object) -> object:
        network = real(*words)
        return lambda x: [made * np.float32(1 + 1e-6 * x.shape[2] * x.shape[3]) for made in network(x)]

    monkeypatch.setattr(network_bank, "_network", uneven)
    monkeypatch.setattr(network_features, "ANCHOR", 16)
    free = [in_tiles(banks["unet"], tile, 1, 1)[0] for tile in (8, 40)]
    assert not np.array_equal(*free, equal_nan=True)
    for name in ("resnet", "unet"):
        bank = replace(banks[name], exact=True)
        stride = int(bank.field.stride[0])
        maps = [in_tiles(bank, anchored(tile, bank, stride), stride, stride) for tile in (8, 40, 999)]
        for features, whole in maps[1:]:
            assert np.array_equal(features, maps[0][0], equal_nan=True)
            assert np.array_equal(whole, maps[0][1])


def test_strides_are_multiples_of_the_tensors_own(banks: dict[str, NetworkBank]) -> None:
    assert banks["resnet"].settled(None, 8) == (8, 8)
    assert banks["resnet"].settled(12, 8) == (12, 8)
    for pool, stride in ((None, 6), (3, 4), (4, 0)):
        with pytest.raises(BankError, match="is not a multiple of 4, the stride of tensor add_5"):
            banks["resnet"].settled(pool, stride)


def test_names_and_bytes(banks: dict[str, NetworkBank], tmp_path: Path) -> None:
    bank = banks["resnet"]
    assert bank.features == ("add_5_000", "add_5_001", "add_5_002")
    assert bank.name == "onnx:resnet.onnx@add_5"
    bank.save(tmp_path / "bank.npz")
    back = NetworkBank.load(tmp_path / "bank.npz", bank.model)
    assert back.digest() == bank.digest()
    assert replace(bank, exact=True, digest_of_model="").digest() != bank.digest()
    assert (back.tensor, back.bands, back.exact) == ("add_5", ("a", "b"), False)
    with pytest.raises(BankError, match=r"is not the network that .* was made for"):
        NetworkBank.load(tmp_path / "bank.npz", banks["unet"].model)
    replace(bank, mean=np.array([np.nan, 1])).save(tmp_path / "bad.npz")
    with pytest.raises(BankError, match="do not fit each other"):
        NetworkBank.load(tmp_path / "bad.npz", bank.model)


@pytest.mark.parametrize(
    ("words", "model", "tensor"),
    [
        ("onnx:a.onnx", "a.onnx", None),
        ("onnx:a.onnx@/layer/Relu_output_0", "a.onnx", "/layer/Relu_output_0"),
        ("onnx:/b@c/a.ONNX@x@y", "/b@c/a.ONNX", "x@y"),
        ("onnx:model@x", "model", "x"),
    ],
)
def test_words_name_a_model_and_a_tensor(words: str, model: str, tensor: str | None) -> None:
    assert split(words) == (Path(model), tensor)


def test_what_does_not_fit_is_one_line(banks: dict[str, NetworkBank], tmp_path: Path) -> None:
    model = small_resnet(tmp_path / "head.onnx", 2, classifies=True)
    assert wanted_tensor(model, None) == "gemm_8"
    two = np.zeros(2), np.ones(2)
    bank = NetworkBank(model, "gemm_8", ("a", "b"), *two)
    with pytest.raises(
        BankError, match=r"head.onnx: tensor gemm_8 cannot .*GlobalAveragePool .* the last is add_5, or glob"
    ):
        _ = bank.field
    with pytest.raises(BankError, match=r"takes 2 bands, got 3 \(a, b, c\); choose and order bands \(-b"):
        NetworkBank(model, "add_5", ("a", "b", "c"), np.zeros(3), np.ones(3))
    with pytest.raises(ModelError, match="has no tensor 'nowhere'; its outputs are gemm_8"):
        NetworkBank(model, "nowhere", ("a", "b"), *two)
    with pytest.raises(BankError, match=r"cannot read the network .*none\.onnx: No such file"):
        NetworkBank(tmp_path / "none.onnx", "x", ("a", "b"), *two)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match=r"text\.onnx"):
        NetworkBank(tmp_path / "text.onnx", "x", ("a", "b"), *two)
    block, valid = scene()
    resnet, whole = banks["resnet"], Window(0, SHAPE[0], 0, SHAPE[1])
    words = {"pool": 4, "stride": 4, "outer": whole, "scene_shape": SHAPE}
    with pytest.raises(BankError, match="takes 2 bands, the block has 1"):
        network_block(block[:1], valid, resnet, window=whole, **words)
    with pytest.raises(BlockError, match="must be"):
        network_block(block, valid[1:], resnet, window=whole, **words)
    with pytest.raises(BlockError, match="whole cells"):
        network_block(block, valid, resnet, window=Window(2, 8, 0, 8), **words)

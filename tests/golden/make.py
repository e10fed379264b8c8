"""Write the golden containers of format version 1: python tests/golden/make.py

Each NAME.tslr is one container, NAME.npz holds the `block` and `valid` it must decode to, for ever. They were made
once; run this only to add a file for a new mode or version. It leaves files that are there alone: never replace one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Bound, decode, encode, predicted
from pipeline.codec.predictor import Shape
from pipeline.codec.predictor_fit import Plan

HERE = Path(__file__).parent


def scene(bands: int, height: int, width: int, seed: int) -> NDArray[np.float64]:
    """A few smooth fields mixed into bands, with a little noise; about 0 to 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    fields = np.stack([np.sin(x / 9), np.cos(y / 7 + x / 23), (x > width / 2) * np.sin(y / 3)])
    mixed = np.tensordot(rng.uniform(0, 1, (bands, 3)), fields, 1) / 6 + 0.5
    return np.clip(mixed + rng.normal(0, 0.004, mixed.shape), 0, 1)


def cases() -> dict[str, tuple[NDArray[Any], NDArray[np.bool_] | None, Bound, float | None]]:
    """Name: block, valid, bound, nodata."""
    numbers = (scene(4, 37, 41, 1) * 3000 + 200).astype(np.uint16)
    disc = np.hypot(*(np.mgrid[:37, :41] - 18)) < 15
    holes = numbers.copy()
    holes[:, 5:20, 8:30] = 0
    holes[2, 30:, :9] = 0
    floats = scene(3, 33, 20, 2).astype(np.float32)
    floats[:, 10:14, 3:9] = np.nan
    wide = (scene(30, 16, 17, 3) * 250).astype(np.uint8)
    signed = (scene(2, 21, 1, 4) * 60000 - 30000).astype(np.int16)
    mixed = numbers.astype(np.int16)
    mixed[:, :16] += np.random.default_rng(5).normal(0, 60, (4, 16, 41)).astype(np.int16)
    squares = numbers.copy()
    squares[1] = numbers[1].repeat(2, 0).repeat(2, 1)[1:38, :41]
    squares[3] = numbers[3].repeat(6, 0).repeat(6, 1)[4:41, 2:43]
    stacked = scene(6, 40, 50, 10).astype(np.float32)
    stacked[2:] = stacked[2:, ::2, ::2].repeat(2, 1).repeat(2, 2)
    stacked[5, :, 1:] = stacked[5, ::4, 1::3].repeat(4, 0).repeat(3, 1)[:40, :49]
    stacked[:, 3:9, 8:21] = np.nan
    stacked[4, 20:28, 30:40] = np.nan
    rough = np.random.default_rng(11).standard_normal((2, 50, 60)).cumsum(axis=2)
    ground = np.tensordot(np.array([[3, 1], [1, 2], [2, 2], [1, 4], [3, 2], [2, 3]]), rough, 1) * 20 + 2000
    ground[4:] = ground[4:].reshape(2, 25, 2, 30, 2).mean(axis=(2, 4)).repeat(2, 1).repeat(2, 2)
    holed = np.hypot(*(np.mgrid[:50, :60] - 28)) < 25
    row = (scene(3, 1, 300, 6) * 9000).astype(np.uint32) + (1 << 31)
    fine = np.random.default_rng(8).normal(0, 60, (70, 66)) * np.array([1, 0.9, 0.8, 0.7, 0.9])[:, None, None]
    ships = (scene(5, 70, 66, 9) * 3000 + 500 + fine).astype(np.uint16)
    ships[2, 40, 31] += 700
    exact = floats.copy()
    exact[0, 0, :3] = -0.0, np.inf, 1e-42
    return {
        "v1_snr_uint16": (numbers, None, Bound("snr", 40.0), None),
        "v1_snr_uint8_30band": (wide, None, Bound("snr", 30.0), None),
        "v1_rmse_uint16_pixel_mask": (numbers, disc, Bound("rmse", 8.0), None),
        "v1_rmse_uint16_element_mask": (holes, None, Bound("rmse", 8.0), 0),
        "v1_rmse_float32_nan": (floats, None, Bound("rmse", 0.01), None),
        "v1_max_error_int16_column": (signed, None, Bound("max_error", 7.0), -30000),
        "v1_max_error_float32": (floats, None, Bound("max_error", 0.002), -9999.0),
        "v1_lossless_uint16": (numbers, disc, Bound("lossless"), 65535),
        "v1_lossless_float32": (exact, None, Bound("lossless"), None),
        "v1_lossless_int64": (numbers[:2, :9, :9].astype(np.int64) << 40, None, Bound("lossless"), None),
        "v1_constant_float64": (np.full((2, 50, 40), 0.1), None, Bound("rmse", 1e-9), None),
        "v1_lossless_int16_classes": (mixed, None, Bound("lossless"), None),
        "v1_max_error_uint8_contexts": (wide[:5], None, Bound("max_error", 1.0), 0),
        "v1_max_error_uint16_predicted": (holes, None, Bound("max_error", 2.0), 0),
        "v1_lossless_uint32_row": (row, None, Bound("lossless"), None),
        "v1_lossless_uint16_squares": (squares, None, Bound("lossless"), None),
        "v1_rmse_uint16_best": (ships, None, Bound("rmse", 30.0), 0),
        "v1_snr_float32_best": (floats, None, Bound("snr", 45.0), None),
        "v1_snr_uint8_30band_best": (wide, None, Bound("snr", 30.0), None),
        "v1_rmse_uint16_parts": (squares, disc, Bound("rmse", 12.0), 0),
        "v1_rmse_uint16_parts_foretold": (ground.astype("u2"), holed, Bound("rmse", 12.0), 1990),
        "v1_snr_float32_parts_best": (stacked, None, Bound("snr", 40.0), None),
        "v1_empty": (np.full((3, 64, 64), -1, np.int32), None, Bound("snr", 30.0), -1),
    }


def predictors() -> dict[str, tuple[str, Plan]]:
    """Effort and plan of the files whose samples are foretold in another way than their size suggests."""
    return {
        "v1_lossless_int16_classes": ("best", Plan(Shape(own=10, before=3, near=2, around=24), 3, 4096, 2)),
        "v1_max_error_uint8_contexts": ("best", Plan(Shape(own=7, before=2, near=2, around=5), 2, 4096, 2)),
        "v1_max_error_uint16_predicted": ("fast", Plan(Shape(own=6, before=8, near=2, around=8), 1, 4096, 0)),
        "v1_lossless_uint16_squares": ("best", Plan(Shape(own=6, before=3, near=2, around=8), 1, 4096, 0)),
        "v1_lossless_uint32_row": ("best", Plan(Shape(own=2, before=1, near=1, around=2), 1, 4096, 0)),
    }


def main() -> None:
    """Write what is not there yet."""
    for name, (block, valid, bound, nodata) in cases().items():
        target = HERE / f"{name}.tslr"
        if target.exists():
            continue
        effort, plan = predictors().get(name, ("best" if name.endswith("_best") else "fast", None))
        plans = predicted.PLANS if plan is None else {effort: ((0, plan),)}
        with mock.patch.object(predicted, "PLANS", plans):
            data = encode(block, valid, bound, nodata=nodata, effort=effort)
        decoded, real = decode(data)
        target.write_bytes(data)
        np.savez_compressed(HERE / f"{name}.npz", block=decoded, valid=real)
        print(f"{name}: {len(data)} bytes of {block.nbytes}")


if __name__ == "__main__":
    main()

"""The doors of the rooms: what is no array, noise level, bound or number is refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.codec import Bound, decode, encode
from pipeline.denoise import denoise_block
from pipeline.errors import BlockError, TerrasketchError
from pipeline.network import Bank, fit_bank

BLOCK = np.random.default_rng(2).normal(9, 1, (4, 32, 32)).astype("float32")
VALID = np.ones((32, 32), bool)
SNR = Bound("snr", 40)


def refused(verb: Any, *given: Any, **words: Any) -> str:
    with pytest.raises(TerrasketchError) as caught:
        verb(*given, **words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("block", "valid", "words", "text"),
    [
        (None, VALID, {}, "block is None; give a NumPy array (band, y, x)"),
        (BLOCK.tolist(), VALID, {}, "block is a list; give a NumPy array (band, y, x)"),
        (BLOCK, None, {}, "valid is None; give a NumPy array (y, x) of bool"),
        (BLOCK, VALID.tolist(), {}, "valid is a list; give a NumPy array (y, x) of bool"),
        (BLOCK, VALID, {"clear": VALID[:3]}, "clear is bool of shape (3, 32); give bool of shape (32, 32) (y, x)"),
        (BLOCK, VALID, {"clear": VALID.astype(int)}, "clear is int64 of shape (32, 32)"),
        (BLOCK, VALID, {"sigma": "big"}, "sigma 'big' is not a noise level"),
        (BLOCK, VALID, {"sigma": 1j}, "sigma 1j is not a noise level"),
        (BLOCK, VALID, {"sigma": [1, None, 2, 3]}, "sigma [1, None, 2, 3] is not a noise level"),
    ],
)
def test_blocks_to_denoise(block: Any, valid: Any, words: dict[str, Any], text: str) -> None:
    assert text in refused(denoise_block, block, valid, **words)


@pytest.mark.parametrize(
    ("given", "words", "text"),
    [
        ((None, VALID, SNR), {}, "block is None; give a NumPy array (band, y, x)"),
        ((BLOCK.tolist(), VALID, SNR), {}, "block is a list; give a NumPy array (band, y, x)"),
        ((BLOCK, VALID, None), {}, 'bound is None; give one such as Bound("rmse", 5)'),
        ((BLOCK, VALID, "snr"), {}, "bound is 'snr'; give one such as Bound"),
        ((BLOCK, VALID, 40), {}, "bound is 40; give one such as Bound"),
        ((BLOCK, VALID, SNR), {"nodata": "a"}, "nodata 'a' is no number"),
    ],
)
def test_blocks_to_encode(given: tuple[Any, ...], words: dict[str, Any], text: str) -> None:
    assert text in refused(encode, *given, **words)


@pytest.mark.parametrize("data", [None, "TSLR", 5])
def test_what_is_no_bytes_is_no_chunk(data: Any) -> None:
    assert f"a chunk is bytes, got {type(data).__name__}" in refused(decode, data)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"count": "a"}, "a bank has 1 to"),
        ({"count": 2.5}, "a bank has 1 to"),
        ({"size": "a"}, "filters are 1 to"),
        ({"seed": "a"}, "a seed is a whole number of 0 or more"),
        ({"seed": 1.5}, "a seed is a whole number of 0 or more"),
        ({"samples": [BLOCK]}, "sample 0 is no pair of a block (band, y, x) and its valid (y, x)"),
        ({"samples": None}, "samples are None"),
    ],
)
def test_banks(words: dict[str, Any], text: str) -> None:
    given: dict[str, Any] = {"samples": [(BLOCK, VALID)], "bands": tuple("abcd")} | words
    assert text in refused(fit_bank, "rcf-mixed", given.pop("samples"), **given)


@pytest.mark.parametrize("path", [None, 5, b"x.npz"])
def test_paths_of_banks(path: Any, tmp_path: Path) -> None:
    with pytest.raises(TerrasketchError, match="is no path; give a file"):
        Bank.load(path)


def test_lists_of_levels_stay_levels() -> None:
    found = denoise_block(BLOCK, VALID, sigma=[1, 2, 3, 4]).sigma
    assert found.tolist() == [1, 2, 3, 4]
    with pytest.raises(BlockError, match="one for each of 4 bands"):
        denoise_block(BLOCK, VALID, sigma=[1, 2])

"""What differs between two configurations is said as a workflow says it."""

from typing import Any

import pytest

from pipeline.flow.difference import differences

SCENE: dict[str, Any] = {
    "source": {"fingerprint": "a", "bands": ["B2", "B3"], "nodata": "0.0", "mask": {"values": [3], "bits": []}},
    "grid": {"height": 9, "width": 9, "tile": 256},
    "denoise": {"quality": "fast", "sigma": "auto"},
    "compress": {"bound": "snr", "value": 40.0},
    "effort": "fast",
    "algorithms": {"denoise": 1, "codec": 1},
}
FEATURES: dict[str, Any] = {
    "source": SCENE,
    "grid": SCENE["grid"],
    "features": {"bank": {"name": "classic", "count": None, "size": 7, "seed": 0}, "pool": 5, "stride": 1},
    "algorithms": {"features": 1},
}


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    front, _, rest = path.partition(".")
    return base | {front: changed(base.get(front, {}), rest, value) if rest else value}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("compress.value", 35.0, ["compress.snr: 40 -> 35"]),
        (
            "compress",
            {"bound": "lossless", "value": None},
            ["compress.lossless: none -> true", "compress.snr: 40 -> none"],
        ),
        ("effort", "best", ["compress.effort: fast -> best"]),
        ("denoise.sigma", 2.5, ["denoise.sigma: auto -> 2.5"]),
        ("denoise.basis", "scene", ["denoise.basis: tile -> scene"]),
        ("source.bands", ["B2"], ["read.bands: B2, B3 -> B2"]),
        ("source.fingerprint", "b", ["the scene's pixels changed"]),
        ("algorithms.denoise", 2, ["terrasketch's algorithm of denoising: 1 -> 2"]),
        (
            "algorithms",
            {},
            [
                "terrasketch's algorithm of compression: 1 -> older",
                "terrasketch's algorithm of denoising: 1 -> older",
            ],
        ),
        ("source.mask.values", [3, 8], ["read.mask_values: 3 -> 3, 8"]),
        ("source.mask", {"0": {"values": [8], "bits": []}}, ["read.mask_values: 3 -> 8"]),
    ],
)
def test_a_store_of_a_scene(path: str, value: Any, says: list[str]) -> None:
    other = changed(SCENE, path, value)
    assert differences(SCENE, other) == says
    assert differences(FEATURES, FEATURES | {"source": other}) == says


def test_the_tile_and_keys_that_no_workflow_has() -> None:
    assert differences(SCENE, changed(SCENE, "grid.tile", 64)) == ["read.tile: 256 -> 64"]
    assert differences(FEATURES, changed(FEATURES, "source.grid.tile", 64)) == ["read.tile of the scene: 256 -> 64"]
    assert differences(SCENE, changed(SCENE, "unknown.key", 3)) == ["unknown.key: none -> 3"]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("features.bank.name", "rcf-mixed", ["features.bank: classic -> rcf-mixed"]),
        ("features.bank.size", 3, ["features.size: 7 -> 3"]),
        ("features.stride", 4, ["features.stride: 1 -> 4"]),
        ("features.dtype", "int8", ["features.dtype: float32 -> int8"]),
        ("features.domain", "factors", ["features.domain: pixels -> factors"]),
        ("features.bank.digest", "x", ["the bank's contents changed"]),
    ],
)
def test_a_store_of_features(path: str, value: Any, says: list[str]) -> None:
    assert differences(FEATURES, changed(FEATURES, path, value)) == says


BANDS = [f"{day} B{number:02}" for day in ("2016-01-12", "2016-02-11", "2016-03-12") for number in range(1, 11)]
SECONDS = [1452556800] * 10 + [1455148800 + 57382] * 10 + [1457740800] * 10
MASKS = {str(number): {"fingerprint": f"m{number}", "band": "SCL", "values": [8, 9], "bits": []} for number in range(3)}
STACK = SCENE | {"source": {"fingerprint": "a", "bands": BANDS, "times": SECONDS, "nodata": "0.0", "mask": MASKS}}


def fewer(keep: slice, **more: Any) -> dict[str, Any]:
    return STACK | {"source": STACK["source"] | {"bands": BANDS[keep], "times": SECONDS[keep]} | more}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (
            fewer(slice(20), fingerprint="b", mask={key: MASKS[key] for key in "01"}),
            [
                "read.times: without 2016-03-12",
                "read.bands: without 2016-03-12 B01, 2016-03-12 B02, 2016-03-12 B03 and 7 more",
                "the mask's pixels changed",
                "the scene's pixels changed",
            ],
        ),
        (fewer(slice(1, None)), ["read.bands: without 2016-01-12 B01"]),
        (
            fewer(slice(30), bands=[*BANDS[:-1], "2016-03-12 B8A"]),
            ["read.bands: without 2016-03-12 B10, with 2016-03-12 B8A"],
        ),
        (fewer(slice(None, None, -1), times=SECONDS), ["read.bands: in another order"]),
        (changed(STACK, "source.mask.0.fingerprint", "new"), ["the mask's pixels changed"]),
        (changed(STACK, "source.mask.1.values", [3]), ["read.mask_values: 8, 9 -> 8, 9, 3"]),
        (
            changed(STACK, "compress.value", 35.0)
            | {"source": {key: value for key, value in STACK["source"].items() if key != "mask"}},
            [
                "read.mask_band: SCL -> none",
                "read.mask_values: 8, 9 -> none",
                "compress.snr: 40 -> 35",
                "the mask's pixels changed",
            ],
        ),
    ],
)
def test_dates(other: dict[str, Any], says: list[str]) -> None:
    assert differences(STACK, other) == says
    assert differences(FEATURES | {"source": STACK}, FEATURES | {"source": other}) == says


def test_dates_of_no_time_are_said_as_they_are() -> None:
    other = fewer(slice(30), times=["x", None, 1e300, {}, 10**30])
    (line,) = differences(STACK, other)
    assert line == ("read.times: without 2016-01-12, 2016-02-11T15:56:22Z, 2016-03-12, with x, None, 1e+300 and 2 more")


@pytest.mark.parametrize(
    "configuration", [None, 3, [], {"compress": 3}, {"compress": {"bound": [1]}}, {"": {"": None}}]
)
def test_what_a_hostile_store_says_is_no_error(configuration: Any) -> None:
    assert differences(configuration, SCENE)

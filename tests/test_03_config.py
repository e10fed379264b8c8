"""The workflow at the door: what it says wrongly is named, with its line."""

import json
from pathlib import Path

import pytest

from pipeline.config import Workflow, json_schema, load_workflow
from pipeline.errors import ConfigError


def _load(tmp_path: Path, text: str) -> Workflow:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return load_workflow(path)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "version: 1\ndenoise:\n  quality: fast\n  sigm: 3\n",
            4,
            "unknown key denoise.sigm; known here: quality, sigma",
        ),
        ("out: x\nfoo: 1\n", 2, "unknown key foo; known here: version, sources"),
        ("compress: {snr: 30, rmse: 2}\n", 1, "give one of snr, rmse"),
        ("read:\n  tile: many\n", 2, "read.tile"),
        ("read:\n  tile: 4\n", 2, "greater than or equal to 16"),
        ("denoise:\n  sigma: -1\n", 1, "positive"),
        ("denoise:\n  quality: best\n", 2, "'fast' or 'quality'"),
        ("out: a\nout: b\n", 2, "out is said twice"),
        ("sources: 3\n", 1, "sources"),
        ("features:\n  stride: 1.5\n", 2, "features.stride"),
        ("version: 2\n", 1, "version"),
        ("version: 1\nout: !foo x\n", 2, "'x' is no value"),
        ("out: 2001-99-99\n", 1, "'2001-99-99' is no value"),
        ("read:\n  tile: !!int zz\n", 2, "'zz' is no value"),
        ("compress:\n  snr: .nan\n", 2, "compress.snr"),
        ("compress:\n  rmse: .inf\n", 2, "compress.rmse"),
        ("sources:\n  - ''\n", 2, "sources"),
        ("sources: [[]]\n", 1, "sources"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    message = str(caught.value)
    assert f"job.yaml:{line}: " in message
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1,\n", "not YAML"),
        ("- 1\n", "workflow"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("!!python/object:os.system {}\n", "job.yaml"),
        ("[" * 5000, "job.yaml"),
        ("\x00", "job.yaml"),
    ],
)
def test_hostile_files_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        _load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_dates_and_numbers_of_yaml_are_words_where_words_are_wanted(tmp_path: Path) -> None:
    words = "stack: true, times: [2016-01-17, 2016-02-06T10:30:00], mask_band: 5, bands: [1, B8A]"
    read = _load(tmp_path, f"read: {{{words}}}\n").read
    assert read.times == ["2016-01-17", "2016-02-06T10:30:00"]
    assert (read.mask_band, read.bands) == ("5", ["1", "B8A"])
    with pytest.raises(ConfigError, match="mask_band"):
        _load(tmp_path, "read: {mask_band: true}\n")


def test_a_missing_workflow_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_workflow(tmp_path / "none.yaml")


def test_paths_are_relative_to_the_workflow(tmp_path: Path) -> None:
    text = "sources: [a.tif, [b.tif, /c.tif], 's3://bucket/d.tif']\nout: ../o\nfeatures: {bank: my.npz}\n"
    workflow = _load(tmp_path, text)
    remote = "s3://bucket/d.tif"
    assert workflow.sources == [str(tmp_path / "a.tif"), [str(tmp_path / "b.tif"), "/c.tif"], remote]
    assert workflow.out == str(tmp_path.parent / "o")
    assert workflow.features is not None
    assert workflow.features.bank == str(tmp_path / "my.npz")


def test_home_is_where_a_shell_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "m.tif").touch()
    monkeypatch.setenv("HOME", str(home))
    text = "sources: [~/a.tif, [~/b.tif, a~/c.tif], 's3://bucket/~/d.tif', '~/*.tif']\nout: ~/o\n"
    text += "features: {bank: ~/my.npz}\nread: {mask_band: 'scl:~/m.tif'}\nrun: {scheduler: ~/s.json}\n"
    workflow = _load(tmp_path, text)
    assert workflow.sources == [
        f"{home}/a.tif", [f"{home}/b.tif", str(tmp_path / "a~/c.tif")], "s3://bucket/~/d.tif", f"{home}/*.tif",
    ]  # fmt: skip
    assert workflow.out == f"{home}/o"
    assert workflow.features is not None
    assert workflow.features.bank == f"{home}/my.npz"
    assert workflow.read.mask_band == f"scl:{home}/m.tif"
    assert workflow.run.scheduler == f"{home}/s.json"
    network = _load(tmp_path, "features: {bank: 'onnx:~/m.onnx@a'}\n").features
    assert network is not None
    assert network.bank == f"onnx:{home}/m.onnx@a"


@pytest.mark.parametrize("text", ["[]", "0", "false", "''", "text", "[1, 2]", "2020-01-01"])
def test_a_workflow_that_is_no_mapping_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"job.yaml:1: a workflow is keys with values, .*, got ") as caught:
        _load(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "warns"), [("", True), ("---\n", True), ("# only\n", True), ("{}", False)])
def test_a_workflow_that_says_nothing_is_warned_of(tmp_path: Path, text: str, warns: bool) -> None:
    told: list[str] = []
    path = tmp_path / "job.yaml"
    path.write_text(text)
    assert load_workflow(path, told.append).compress.bound == ("snr", 40.0)
    assert bool(told) == warns


def test_an_empty_workflow_has_defaults_and_features_can_be_left_out(tmp_path: Path) -> None:
    assert _load(tmp_path, "").compress.bound == ("snr", 40.0)
    assert _load(tmp_path, "features: null\n").features is None
    assert _load(tmp_path, "compress: {lossless: true}\n").compress.bound == ("lossless", None)
    assert _load(tmp_path, "compress: {max_error: 2}\n").compress.bound == ("max_error", 2.0)


def test_the_schema_in_docs_is_the_models_own() -> None:
    written = json.loads((Path(__file__).parents[1] / "docs" / "workflow.schema.json").read_text())
    assert written == json_schema()


def test_the_schema_names_every_section() -> None:
    assert set(json_schema()["properties"]) == set(Workflow.model_fields)

"""What the command line says of wrong words: by their part, in the reader's words, and one is no plural."""

import re
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.cli.totals import Totals
from pipeline.errors import ConfigError
from pipeline.flow.paperwork import counted
from pipeline.flow.receipts import SceneReceipt
from pipeline.flow.sources import find_scenes
from pipeline.flow.tasks import Failure, Receipt
from pipeline.grid import Window
from pipeline.raster.open import open_source
from tests.scenes import call, write_tif


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scene of one tile in the present folder, and a file that is no folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").touch()
    (tmp_path / "s.json").write_text("{}")
    return write_tif(tmp_path / "x.tif", np.arange(2 * 40 * 40, dtype="uint16").reshape(2, 40, 40))


def said(code: int, *words: object) -> str:
    """The one line of a command that has to fail with this code."""
    result = call(*words)
    assert (result.exit_code, len(result.stderr.splitlines())) == (code, 1), result.stderr
    return result.stderr.removeprefix("Error: ").rstrip()


@pytest.mark.parametrize(
    "words", ["denoise x.tif afile/z.tif", "compress x.tif afile/b/z.zarr", "cluster x.tif afile/z.tif"]
)
def test_a_file_in_the_place_of_a_folder_is_named(scene: Path, words: str) -> None:
    line = said(1, *words.split())
    assert line.endswith(f"{words.split()[2]}: afile is a file, and no folder; give another output")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("compress x.tif", "Missing argument DST.zarr: where to write; got x.tif alone, which is SRC"),
        ("compress --snr 30 x.tif -v", "Missing argument DST.zarr: where to write; got x.tif alone, which is SRC"),
        ("denoise s3://b/x.tif", "Missing argument DST: where to write; got s3://b/x.tif alone, which is SRC"),
        ("features x.tif --bank classic", "Missing argument DST: where to write; got x.tif alone, which is SRC"),
        (
            "compress new.zarr",
            "Missing argument SRC...: what to read; got new.zarr alone, and no such file; give SRC... DST.zarr",
        ),
        ("compress", "Missing arguments SRC... DST.zarr: what to read, and where to write"),
        ("decompress x.zarr", "Missing argument 'DST.tif'."),
    ],
)
def test_a_missing_argument_is_named_by_its_part(scene: Path, words: str, says: str) -> None:
    assert said(2, *words.split()) == f"{says} (see terrasketch {words.split()[0]} --help)"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--snr forty", "Invalid value for '--snr': 'forty' is no number; give a number of dB"),
        ("--rmse ten", "'ten' is no number; give a number in data units"),
        ("--tile big", "Invalid value for '--tile': 'big' is no number; give a whole number"),
        ("--resolution x", "'x' is no number; give a number in units of the CRS"),
        ("--snr -3", "Invalid value for '--snr': -3.0 is not in the range x>0."),
    ],
)
def test_a_word_that_is_no_number_is_told_which_is_wanted(scene: Path, words: str, says: str) -> None:
    assert said(2, "compress", "x.tif", "z.zarr", *words.split()).endswith(f"{says} (see terrasketch compress --help)")


@pytest.mark.parametrize("words", ["inspect no.zarr", "compare x.tif no.zarr", "denoise no.zarr z.tif"])
def test_a_store_that_is_not_there_is_no_raster(scene: Path, words: str) -> None:
    assert re.search(
        r"no\.zarr: there is no such store; `terrasketch compress` or `run` writes one", said(1, *words.split())
    )


MISSING = {
    "scene": ("no.tif", "classic"),
    "bank": ("x.tif", "no.npz"),
    "mask": ("x.tif --mask-band scl:no.tif", "classic"),
    "mask in a folder": ("x.tif --mask-band ./no", "classic"),
}


@pytest.mark.parametrize("what", MISSING)
def test_a_file_that_is_not_there_ends_every_command_alike(scene: Path, what: str) -> None:
    """Exit 1, input that cannot be used, as of a scene; 2 is for words that mean nothing."""
    source, bank = MISSING[what]
    (scene.parent / "w.yaml").write_text(f"version: 1\nfeatures: {{bank: {bank}}}\nwrite: {{cog: [], report: false}}\n")
    src, *words = source.split()
    calls = [
        ("run", "w.yaml", src, "--out", "out", *words),
        ("plan", "w.yaml", src, *words),
        ("features", src, "f.zarr", "--bank", bank, *words),
    ]
    if what != "bank":
        calls += [("denoise", src, "d.tif", *words), ("compress", src, "c.zarr", *words), ("inspect", src, *words)]
        calls += [("fit", src, "-o", "b.npz", "--bank", bank, *words)]
    else:
        calls += [("inspect", "no.npz")]
    for call_words in calls:
        assert "no" in said(1, *call_words), call_words


@pytest.mark.parametrize("words", ["--mask-band CLOUDS", "--bands B9", "-b 9"])
def test_a_word_for_no_band_is_wrong_usage(scene: Path, words: str) -> None:
    for command in (("denoise", "x.tif", "d.tif"), ("compress", "x.tif", "c.zarr"), ("inspect", "x.tif")):
        said(2, *command, *words.split())


def test_one_is_no_plural(scene: Path) -> None:
    assert [counted(number, "tile") for number in (0, 1, 2)] == ["0 tiles", "1 tile", "2 tiles"]
    assert "z.zarr: 1 tile, " in call("compress", "x.tif", "z.zarr").stdout
    (scene.parent / "w.yaml").write_text("version: 1\nfeatures: null\nwrite: {cog: [], report: false}\n")
    assert "denoise + compress  1 tile in " in call("run", "w.yaml", "x.tif", "--out", "out").stdout
    assert "(1 task at a time" in call("plan", "w.yaml", "x.tif", "--workers", "1").stdout
    assert str(Totals(1, 1, 1)).startswith("1 scene: 1 tile in 1 task, ")
    receipt = SceneReceipt("x", "out/x", ["x.tif"], "x")
    receipt.add("denoise", Receipt(failed=2, failures=[Failure(0, Window(0, 1, 0, 1), "torn")]), 1.0)
    assert receipt.failures[-1] == "and 1 more tile"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("COMPRESS=NOPE", "'NOPE' is an unexpected value for COMPRESS creation option of type string-select"),
        ("COMPRES=ZSTD", "driver COG does not support creation option COMPRES"),
        ("LEVEL=foo", "'FOO' is an unexpected value for LEVEL creation option of type int"),
    ],
)
@pytest.mark.parametrize("command", ["denoise x.tif z.tif", "features x.tif z.tif --bank classic"])
def test_creation_options_are_tried_before_anything_is_computed(
    scene: Path, monkeypatch: pytest.MonkeyPatch, command: str, words: str, says: str
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr("pipeline.flow.stages.fill", never)
    monkeypatch.setattr("pipeline.cli.features.fit_on", never)
    line = said(2, *command.split(), "--co", words)
    assert line == f"creation options: {says}; see the options of GDAL's COG driver"
    assert sorted(path.name for path in scene.parent.iterdir()) == ["afile", "s.json", "x.tif"]


def test_options_of_the_dtype_are_tried_on_it(scene: Path) -> None:
    assert "BitsPerSample 16 not allowed for JPEG" in said(2, "denoise", "x.tif", "z.tif", "--co", "COMPRESS=JPEG")


@pytest.mark.parametrize("command", ["denoise x.tif z.zarr", "features x.tif z.zarr", "features x.tif z.parquet"])
def test_creation_options_are_for_cogs(scene: Path, command: str) -> None:
    target = command.split()[2]
    line = said(2, *command.split(), "--co", "COMPRESS=ZSTD", "--co", "LEVEL=9")
    options = "--co COMPRESS=ZSTD --co LEVEL=9"
    assert line == f"{target}: {options} is for a COG; leave it out, or give an output ending in .tif or .tiff"
    assert not Path(target).exists()


BLANK = [
    "denoise _ z.tif",
    "denoise x.tif _ z.tif",
    "denoise x.tif _",
    "compress _ z.zarr",
    "compress x.tif _",
    "decompress _ z.tif",
    "decompress x.zarr _",
    "fit _ -o z.npz",
    "fit x.tif -o _",
    "features _ z.zarr",
    "features x.tif _",
    "inspect _",
    "inspect x.tif _",
    "inspect _ --verify",
    "compare _ x.tif",
    "compare x.tif _",
    "similar _ z.tif --at 1,2",
    "similar x.tif _ --at 1,2",
    "cluster _ z.tif",
    "cluster x.tif _",
    "anomaly _ z.tif",
    "anomaly x.tif _",
    "regress _ z.tif --labels s.json --field a",
    "regress x.tif _ --labels s.json --field a",
    "run job.yaml _",
    "run job.yaml x.tif --out _",
    "plan job.yaml _",
]


@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.parametrize("words", BLANK)
def test_an_empty_path_is_not_the_present_folder(scene: Path, words: str, blank: str) -> None:
    Path("job.yaml").write_text("version: 1\n")
    line = said(2, *(blank if word == "_" else word for word in words.split()))
    assert f"{blank!r} is an empty path; name a file or a folder, . for the present one" in line
    assert sorted(path.name for path in scene.parent.iterdir()) == ["afile", "job.yaml", "s.json", "x.tif"]


@pytest.mark.parametrize("path", ["", " ", [""], ["x.tif", ""]])
def test_in_python_an_empty_path_is_none(scene: Path, path: str | list[str]) -> None:
    with pytest.raises(ConfigError, match="is an empty path"):
        pipeline.open_scene(path)
    with pytest.raises(ConfigError, match="is an empty path"):
        open_source(path)
    with pytest.raises(ConfigError, match="is an empty path"):
        list(find_scenes(path))


def test_in_python_no_store_is_written_to_an_empty_path(scene: Path) -> None:
    with pytest.raises(ConfigError, match="is an empty path"):
        pipeline.open_scene("x.tif").terrasketch.compress("")


@pytest.mark.parametrize(("bound", "says"), [("lossless: true", "raw, without loss"), ("snr: 35", "raw at 3")])
def test_a_run_without_loss_says_no_decibels(scene: Path, bound: str, says: str) -> None:
    Path("job.yaml").write_text(f"version: 1\ncompress: {{{bound}}}\nfeatures: null\n")
    result = call("run", "job.yaml", "x.tif", "--out", "out")
    assert (result.exit_code, says in result.stdout, "inf" in result.stdout) == (0, True, False)


def test_the_package_lists_what_it_imports_late() -> None:
    listed = dir(pipeline)
    assert {"denoise", "features", "open_scene", "zarr_encoding", "__version__"} <= {*listed}
    assert all(getattr(pipeline, name) is not None for name in listed if not name.startswith("_"))
    assert len(listed) == len({*listed})


def test_help_says_what_is_done(scene: Path) -> None:
    """--nodata wins over what the file says."""
    write_tif(scene, np.arange(2 * 40 * 40, dtype="uint16").reshape(2, 40, 40), nodata=3)
    assert pipeline.open_scene("x.tif", nodata=7).rio.nodata == 7
    text = {name: " ".join(call(name, "--help").stdout.split()) for name in ("denoise", "inspect")}
    assert "--nodata FLOAT Sentinel of invalid pixels, in place of the files' own." in text["denoise"]
    assert "Several PATHs are the band files of one scene." in text["inspect"]


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--bands=", "'' names nothing"),
        ("--bands=,", "',' names nothing"),
        ("--times=", "'' names nothing"),
        ("--mask-values=", "'' is not a list of whole numbers"),
        ("--mask-bits=", "'' is not a list of whole numbers"),
        ("--mask-band=", "--mask-band is empty: name the band or file of the mask, or leave it out"),
    ],
)
def test_an_empty_word_is_not_taken_for_none(scene: Path, option: str, says: str) -> None:
    assert says in said(2, "compress", scene, "y.zarr", option)
    assert not Path("y.zarr").exists()

"""What bands of STAC items are called, and by which names they are asked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ConfigError, SourceError
from pipeline.raster.catalogue import members
from pipeline.raster.open import open_source
from pipeline.raster.stac_home import settled
from pipeline.raster.stac_json import local_path
from tests.raster_files import numbers, whole, write_tif
from tests.stac_files import TIFF, item
from tests.stac_files import write as write_item


def _asset(folder: Path, key: str, names: tuple[str | None, ...], seed: int, **facts: Any) -> dict[str, Any]:
    def name(dataset: Any) -> None:
        dataset.descriptions = names

    write_tif(folder / f"{key}.tif", numbers(len(names), 8, 8, seed=seed), name)
    return {"href": f"./{key}.tif", "type": TIFF, "roles": ["data"]} | facts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three cubes whose bands only their files name: `red` is in two of them, one band has no name; and one more."""
    assets = {
        "ms": _asset(tmp_path, "ms", ("blue", "red"), 1),
        "aux": _asset(tmp_path, "aux", ("red", None, "qa"), 2),
        "said": _asset(tmp_path, "said", ("x", "y"), 3, **{"eo:bands": [{"name": "B1"}, {"name": "B2"}]}),
        "pan": _asset(tmp_path, "pan", ("grey",), 4),
    }
    return write_item(tmp_path / "item.json", item("x", "") | {"assets": assets})


def test_a_band_has_the_name_of_its_file_and_the_key_only_where_that_is_no_name(path: Path) -> None:
    source = open_source(path)
    assert source.info.bands == ("blue", "ms_red", "aux_red", "aux_band_2", "qa", "B1", "B2", "pan")


def test_bands_are_asked_for_by_either_spelling(path: Path) -> None:
    block, _ = whole(open_source(path))
    for number, name in enumerate(open_source(path).info.bands):
        one = open_source(path, bands=[name])
        assert one.info.bands == (name,)
        np.testing.assert_array_equal(whole(one)[0], block[number : number + 1])
    for long, short in (("ms_blue", "blue"), ("aux_qa", "qa"), ("said_B2", "B2"), ("pan_grey", "pan"), ("grey", "pan")):
        one, two = (whole(open_source(path, bands=[name]))[0] for name in (long, short))
        np.testing.assert_array_equal(one, two)
    both = open_source(path, bands=["qa", "ms_red", "blue"])
    assert both.info.bands == ("qa", "ms_red", "blue")
    np.testing.assert_array_equal(whole(both)[0], block[[4, 1, 0]])
    assert open_source(path, bands=["ms"]).info.bands == ("blue", "red")


def test_a_name_of_two_assets_and_one_of_none_are_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"2 assets have a band red; say which: ms_red, aux_red"):
        open_source(path, bands=["red"])
    with pytest.raises(ConfigError, match=r"no asset or band green; there are ms, aux, said, pan, blue, red"):
        open_source(path, bands=["green"])


def test_an_asset_that_is_gone_hides_no_other(path: Path) -> None:
    path.with_name("aux.tif").unlink()
    assert open_source(path, bands=["red"]).info.bands == ("red",)
    with pytest.raises(ConfigError, match="no asset or band qa"):
        open_source(path, bands=["qa"])


def test_a_name_that_the_item_gives_two_assets_is_told_apart(tmp_path: Path) -> None:
    said = [{"name": "B1"}, {"name": "B2"}]
    assets = {key: _asset(tmp_path, key, ("x", "y"), 5, bands=said) for key in ("a", "b")}
    path = write_item(tmp_path / "item.json", item("x", "") | {"assets": assets})
    assert open_source(path).info.bands == ("a_B1", "a_B2", "b_B1", "b_B2")
    assert json.loads(path.read_text())["assets"]["a"]["bands"] == said
    np.testing.assert_array_equal(whole(open_source(path, bands=["b_B2"]))[0], numbers(2, 8, 8, seed=5)[1:])


@pytest.mark.parametrize("front", ["", "file://"])
def test_an_item_that_says_where_it_lies_is_at_home_there(tmp_path: Path, front: str) -> None:
    own = tmp_path / "items" / "i.json"
    facts = {
        "type": "Feature",
        "links": [{"rel": "self", "href": f"{front}{own}"}],
        "assets": {"b": {"href": "./B.tif"}},
    }
    path = tmp_path / "stdin.json"
    path.write_text(json.dumps(facts))
    found = json.loads(b"".join(settled(str(path), tmp_path)))
    assert found["assets"]["b"]["href"] == f"file://{tmp_path}/items/B.tif"


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("folder", ["od#d %41", "why?", "50%", "a.json#b"])
def test_folders_and_files_may_have_letters_that_mean_something_in_addresses(
    tmp_path: Path, folder: str, typed: bool
) -> None:
    home = tmp_path / folder
    home.mkdir()
    names = {"a#b%20c.tif": "./a%23b%2520c.tif", "my scene.tif": "my%20scene.tif", "c?d%41.tif": "c?d%41.tif"}
    block = numbers(len(names), 8, 8)
    assets = {}
    for number, (name, href) in enumerate(names.items()):
        write_tif(home / name, block[number : number + 1])
        assets[f"b{number}"] = {"href": href} | ({"type": TIFF} if typed else {})
    path = write_item(home / "item.json", item("x", "") | {"assets": assets})
    np.testing.assert_array_equal(whole(open_source(path))[0], block)
    (tmp_path / "found.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": [item("x", f"{folder}/my scene.tif")]})
    )
    np.testing.assert_array_equal(whole(open_source(f"{tmp_path}/found.json#x"))[0], block[1:2])


def test_links_of_catalogues_may_have_them_too(tmp_path: Path) -> None:
    (tmp_path / "c#d?").mkdir()
    write_item(tmp_path / "c#d?" / "i 1.json", item("i", "./a.tif"))
    links = [{"rel": "child", "href": "./c#d?/child.json"}, {"rel": "item", "href": "c%23d%3F/i%201.json"}]
    for path, found in ((tmp_path / "catalog.json", links), (tmp_path / "c#d?" / "child.json", [])):
        path.write_text(json.dumps({"type": "Catalog", "stac_version": "1.0.0", "id": "c", "links": found}))
    assert [member.reference for member in members(str(tmp_path / "catalog.json"))] == [str(tmp_path / "c#d?/i 1.json")]


def test_an_asset_that_is_not_there_is_named_as_written(tmp_path: Path) -> None:
    path = write_item(tmp_path / "item.json", item("x", "./a%20b.tif"))
    with pytest.raises(SourceError, match=r"/a%20b\.tif"):
        open_source(path)


def test_hrefs_of_files_may_be_encoded(tmp_path: Path) -> None:
    folder = tmp_path / "my items"
    folder.mkdir()
    (folder / "50%20.tif").touch()
    assert local_path(f"file://localhost{tmp_path}/my%20items/B%201.tif") == str(folder / "B 1.tif")
    assert local_path(f"file://{folder}/50%20.tif") == str(folder / "50%20.tif")  # as we write them
    assert local_path("https://host/a%20b.tif") == "https://host/a%20b.tif"

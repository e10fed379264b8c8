"""STAC files of many scenes: every item is found, one at a time, and hostile files are refused in one line."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SourceError
from pipeline.raster import stac_json
from pipeline.raster.catalogue import MAX_DEPTH, members
from pipeline.raster.open import open_source
from pipeline.raster.stac_json import is_stac, outline, read_feature, split_reference
from tests.raster_files import numbers, whole, write_tif
from tests.stac_files import catalogue, item, search, write

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["features", "type"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("features"), inner, max_size=3),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(min_size=1), JSON, max_size=6),
    st.dictionaries(st.text(), JSON, max_size=3),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_the_outline_is_what_a_json_parser_sees(
    tmp_path_factory: pytest.TempPathFactory, features: dict[str, Any], other: dict[str, Any], indent: int, last: bool
) -> None:
    path = tmp_path_factory.mktemp("outline") / "search.json"
    items = [{"what": value, "id": name, "type": "Feature"} for name, value in features.items()]
    facts = {"type": "FeatureCollection", "features": items}
    facts = (
        {**other, **facts} if last else {**facts, **{key: value for key, value in other.items() if key not in facts}}
    )
    path.write_text(json.dumps(facts, indent=indent, ensure_ascii=False), "utf-8", "surrogatepass")
    kind, spans = outline(str(path))
    assert (kind, list(spans)) == ("FeatureCollection", list(features))
    assert [read_feature(str(path), name) for name in spans] == items


def test_an_item_of_a_search_opens_by_its_id(tmp_path: Path) -> None:
    blocks = [numbers(2, 5, 6, seed=seed) for seed in range(3)]
    for number, block in enumerate(blocks):
        write_tif(tmp_path / f"{number}.tif", block)
    path = search(tmp_path / "found.json", [item(f"S2/{n}", f"./{n}.tif") for n in range(3)])
    found = list(members(str(path)))
    assert [member.reference for member in found] == [f"{path}#S2/{n}" for n in range(3)]
    for member, block in zip(found, blocks, strict=True):
        source = open_source(member.reference)
        np.testing.assert_array_equal(whole(source)[0], block)
    assert source.info.name == "S2_2"
    with pytest.raises(SourceError, match=r"give one item of it as .*found.json#ID"):
        open_source(path)
    with pytest.raises(SourceError, match=r"no item S9 in it; there are S2/0, S2/1, S2/2$"):
        open_source(f"{path}#S9")


def test_relative_assets_of_a_search_lie_beside_the_item_itself(tmp_path: Path) -> None:
    write_tif(tmp_path / "far.tif", numbers(1, 5, 6))
    home = {"rel": "self", "href": str(tmp_path / "item.json")}
    path = search(tmp_path / "searches" / "found.json", [item("a", "./far.tif", links=[home])])
    assert open_source(f"{path}#a").info.height == 5


def test_one_id_of_two_collections_is_two_items_and_twice_is_refused(tmp_path: Path) -> None:
    one, two = (item("a", "./a.tif", collection=name) for name in ("l1c", "l2a"))
    path = search(tmp_path / "found.json", [one, two])
    assert [member.names for member in members(str(path))] == [("a",), ("l2a_a",)]
    assert read_feature(str(path), "l2a/a") == two
    with pytest.raises(SourceError, match="holds the item l2a/a twice"):
        list(members(str(search(tmp_path / "twice.json", [one, two, two]))))


def test_a_catalogue_is_walked_with_no_item_opened(tmp_path: Path) -> None:
    catalogue(tmp_path / "catalog.json", child=["./a/collection.json", "./b/collection.json", "./catalog.json"])
    catalogue(tmp_path / "a/collection.json", "Collection", item=["./A1/A1.json", "./A2/item.json"], root=["../none"])
    catalogue(tmp_path / "b/collection.json", "Collection", item=["../a/A1/A1.json", "./B1/B1.json"])
    found = list(members(str(tmp_path / "catalog.json")))
    assert [member.names[0] for member in found] == ["A1", "A2", "B1"]
    assert [Path(member.reference).relative_to(tmp_path).as_posix() for member in found] == [
        "a/A1/A1.json",
        "a/A2/item.json",
        "b/B1/B1.json",
    ]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the test's folder, on this machine alone."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_catalogue_on_the_web(tmp_path: Path, web: str) -> None:
    write_tif(tmp_path / "a.tif", numbers(2, 5, 6))
    catalogue(tmp_path / "catalog.json", item=["./A/A.json", f"{web}/B.json"])
    write(tmp_path / "A/A.json", item("A", "../a.tif"))
    first, second = members(f"{web}/catalog.json")
    assert (first.names[0], second.reference) == ("A", f"{web}/B.json")
    source = open_source(first.reference)
    np.testing.assert_array_equal(whole(source)[0], numbers(2, 5, 6))
    with pytest.raises(SourceError, match=r"cannot open http.*B.json: File not found"):
        open_source(second.reference)


def test_a_catalogue_on_the_web_names_no_file_of_this_machine(tmp_path: Path, web: str) -> None:
    for number, href in enumerate(("file:///etc/hostname.json", "/vsicurl/x.json", "ftp://bucket/x.json")):
        catalogue(tmp_path / f"{number}/catalog.json", item=[href])
        with pytest.raises(SourceError, match="which is not on the network"):
            list(members(f"{web}/{number}/catalog.json"))


def test_an_item_on_the_web_names_no_raster_of_this_machine_and_one_kept_here_does(tmp_path: Path, web: str) -> None:
    here = write_tif(tmp_path / "a.tif", numbers(2, 5, 6))
    home = {"rel": "self", "href": "https://example.com/items/a"}
    write(tmp_path / "a.json", item("a", str(here), links=[home]))
    with pytest.raises(SourceError, match=f"cannot open .*{web}{here}"):
        open_source(f"{web}/a.json")
    assert open_source(tmp_path / "a.json").info.height == 5
    assert open_source(f"{search(tmp_path / 'found.json', [item('a', str(here), links=[home])])}#a").info.height == 5


def test_a_collection_of_an_api_says_how_to_search(tmp_path: Path) -> None:
    path = catalogue(tmp_path / "c.json", "Collection", items=["https://example.com/collections/c/items"])
    with pytest.raises(SourceError, match=r"stac-client search .* \| terrasketch run"):
        list(members(str(path)))


def _deep(folder: Path) -> Path:
    for number in range(MAX_DEPTH + 3):
        catalogue(folder / f"{number}.json", child=[f"./{number + 1}.json"])
    return catalogue(folder / f"{number + 1}.json", item=["./a.json"]) and folder / "0.json"


def _many(folder: Path) -> Path:
    return catalogue(folder / "many.json", item=[f"./{number}.json" for number in range(30)])


def _text(text: str, folder: Path) -> Path:
    path = folder / "hostile.json"
    path.write_text(text)
    return path


SEARCH = '{"type": "FeatureCollection", "features": ['


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_deep, "more than 16 floors"),
        (_many, "20 items"),
        (partial(_text, SEARCH + "[" * 200_000), "no JSON .it ends too early"),
        (partial(_text, SEARCH + '{"id": ' + "[" * 99_000 + "]" * 99_000 + "}]}"), "no JSON"),
        (partial(_text, SEARCH + "{}]}"), "item without an id"),
        (partial(_text, SEARCH + '{"id": "a", "x": "' + "y" * 5_000_000 + '"}]}'), "4 MiB"),
        (partial(_text, SEARCH + '"' + "\\\\" * 2_000_000), "no JSON"),
        (partial(_text, SEARCH + "]}"), "holds no item"),
        (partial(_text, '{"type": "Catalog", "links": [{"rel": "item"}, 3]}'), "links to no item"),
        (partial(_text, '{"type": "Catalog", "links": "' + "x" * (17 << 20) + '"}'), "larger than 16 MiB"),
        (partial(_text, '{"type": "Topology"}'), "no STAC item but Topology"),
    ],
)  # fmt: skip
def test_hostile_files_are_one_line_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, words: str
) -> None:
    monkeypatch.setattr("pipeline.raster.catalogue.MAX_ITEMS", 20)
    path = make(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=words) as error:
            list(members(str(path)))
        assert "\n" not in str(error.value)
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


def test_what_is_named_as_stac(tmp_path: Path) -> None:
    (tmp_path / "odd.json#1.tif").write_text("")
    assert split_reference("a/b.json#X/1") == ("a/b.json", "X/1")
    assert split_reference(str(tmp_path / "odd.json#1.tif"))[1] is None
    api = "https://example.com/v1/collections/s2"
    assert all(map(is_stac, ("a.json", "A.GEOJSON", "x.json#1", api, f"{api}/items/A", "http://h/c.json?token=1")))
    assert not any(map(is_stac, ("a.tif", "https://example.com/a.tif", f"{api}/a.tif", "a.json.tif")))


def test_a_search_of_many_items_is_never_whole_in_memory(tmp_path: Path) -> None:
    path = search(tmp_path / "found.json", [item(f"S{n}", "./a.tif", padding="x" * 20_000) for n in range(500)])
    stac_json._outline.cache_clear()
    tracemalloc.start()
    try:
        assert len(list(members(str(path)))) == 500
        assert tracemalloc.get_traced_memory()[1] < 1 << 20 < path.stat().st_size // 8
    finally:
        tracemalloc.stop()

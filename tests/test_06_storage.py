"""Places: addresses and paths alike; one set of variables for obstore and GDAL; clients that are made offline."""

import errno
import pickle
from pathlib import Path

import pytest

from pipeline.errors import AccessError, ConfigError, MissingObjectError, StorageError
from pipeline.storage import ObjectPath, gdal_options, lies_in, place, put_whole, whole_file
from pipeline.storage.clients import client, plainly
from pipeline.storage.variables import NAMES, endpoint, obstore_config


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable of the user's, and an empty home."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "https", "http"])
def test_an_address_has_the_parts_of_a_path(scheme: str) -> None:
    path = place(f"{scheme}://bucket/a/b c.zarr/")
    assert isinstance(path, ObjectPath)
    twin = Path("/a/b c.zarr")
    assert (path.name, path.stem, path.suffix, path.key) == (twin.name, twin.stem, twin.suffix, "a/b c.zarr")
    assert str(path / "scene") == f"{scheme}://bucket/a/b c.zarr/scene"
    assert str(path.joinpath("c", "0", "1")) == f"{scheme}://bucket/a/b c.zarr/c/0/1"
    assert path.parent == place(f"{scheme}://bucket/a")
    assert path.parent.parent == path.parent.parent.parent == place(f"{scheme}://bucket")
    assert path.with_name("x.tif") == path.parent / "x.tif"
    assert pickle.loads(pickle.dumps(path)) == path.absolute() == path.resolve() == path


@pytest.mark.parametrize("word", ["scene.tif", "/vsis3/b/scene.tif", "s3", "zip://a.zip!b.tif", "C:x", "ftp://h/x"])
def test_other_words_are_local_paths(word: str) -> None:
    assert place(word) == Path(word)


@pytest.mark.parametrize("word", ["file:///a/b c.zarr", "file://localhost/a/b c.zarr"])
def test_an_address_of_this_machine_is_a_path(word: str) -> None:
    assert place(word) == Path("/a/b c.zarr")
    assert place("file://a.zarr") == Path("a.zarr")
    with pytest.raises(ConfigError, match="empty"):
        place("file://")


@pytest.mark.parametrize("word", ["s3://", "s3:///key", "gs://?x"])
def test_an_address_without_a_bucket_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="no bucket"):
        place(word)


def test_what_lies_in_what() -> None:
    assert lies_in("s3://b/a/x.tif", place("s3://b/a"))
    assert lies_in("s3://b/a", place("s3://b/a/"))
    assert not lies_in("s3://b/ab", place("s3://b/a"))
    assert not lies_in("s3://b/a", Path("/b"))
    assert lies_in("/b/a", Path("/b"))


def test_a_local_file_is_whole_or_not_there(tmp_path: Path) -> None:
    put_whole(tmp_path / "a", b"one")
    with pytest.raises(TypeError), whole_file(tmp_path / "a") as file:
        file.write(b"tw" if file.tell() else "two")  # type: ignore[arg-type]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"one"}


def test_errors_travel_between_processes_and_say_where() -> None:
    error = pickle.loads(pickle.dumps(MissingObjectError(errno.ENOENT, "there is no such object", "s3://b/k")))
    assert isinstance(error, FileNotFoundError)
    assert isinstance(error, StorageError)
    assert str(error) == "s3://b/k: there is no such object"


S3 = {
    "amazon": ({}, None, "TRUE"),
    "endpoint": ({"AWS_ENDPOINT_URL": "http://h:9000"}, "http://h:9000", "FALSE"),
    "endpoint of s3": ({"AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_S3": "https://h/"}, "https://h", "FALSE"),
    "GDAL's": ({"AWS_S3_ENDPOINT": "h:9000", "AWS_HTTPS": "NO"}, "http://h:9000", "FALSE"),
    "GDAL's, safe": ({"AWS_S3_ENDPOINT": "h"}, "https://h", "FALSE"),
    "obstore's": ({"AWS_ENDPOINT": "http://h:1", "AWS_ALLOW_HTTP": "true"}, "http://h:1", "FALSE"),
    "bucket in the host": ({"AWS_ENDPOINT_URL": "http://h", "AWS_VIRTUAL_HOSTING": "TRUE"}, "http://h", "TRUE"),
    "an address": (
        {"AWS_ENDPOINT_URL": "http://10.0.0.1:9", "AWS_VIRTUAL_HOSTING": "TRUE"},
        "http://10.0.0.1:9",
        "FALSE",
    ),
}


@pytest.mark.parametrize("case", S3)
def test_both_libraries_are_told_the_same_endpoint(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    variables, where, virtual = S3[case]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config, plain = obstore_config("s3", "scenes")
    options = gdal_options("s3://scenes/a.tif")
    assert options == gdal_options("/vsis3/scenes/a.tif")
    assert endpoint() == where
    assert options["AWS_VIRTUAL_HOSTING"] == virtual
    assert config["virtual_hosted_style_request"] is (virtual == "TRUE")
    if where is None:
        assert "endpoint" not in config
        assert "AWS_S3_ENDPOINT" not in options
        return
    scheme, _, host = where.partition("://")
    assert plain is (scheme == "http")
    assert options["AWS_HTTPS"] == ("NO" if plain else "YES")
    assert options["AWS_S3_ENDPOINT"] == host
    assert config["endpoint"] == (f"{scheme}://scenes.{host}" if virtual == "TRUE" else where)


def test_region_and_unsigned_requests_reach_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    config, options = obstore_config("s3", "b")[0], gdal_options("s3://b/k")
    assert (config["region"], config["skip_signature"]) == ("eu-central-1", True)
    assert (options["AWS_REGION"], options["AWS_NO_SIGN_REQUEST"]) == ("eu-central-1", "YES")


def test_keys_of_the_profile_are_found(monkeypatch: pytest.MonkeyPatch, bare: Path) -> None:
    (bare / ".aws").mkdir()
    (bare / ".aws/credentials").write_text("[lab]\naws_access_key_id = one\naws_secret_access_key = t%wo\n")
    (bare / ".aws/config").write_text("[profile lab]\nregion = eu-west-1\n")
    assert "access_key_id" not in obstore_config("s3", "b")[0]
    monkeypatch.setenv("AWS_PROFILE", "lab")
    config = obstore_config("s3", "b")[0]
    assert (config["access_key_id"], config["secret_access_key"], config["region"]) == ("one", "t%wo", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    assert "access_key_id" not in obstore_config("s3", "b")[0]


def test_clients_of_every_store_are_made_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    assert gdal_options("az://c/k") == {"AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_ACCESS_KEY": "a2V5"}
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:4443")
    assert gdal_options("gs://b/k") == {"CPL_GS_ENDPOINT": "http://127.0.0.1:4443/", "GS_NO_SIGN_REQUEST": "YES"}
    kinds = {scheme: type(client(scheme, "bucket", "a/b")).__name__ for scheme in ("s3", "gs", "az", "https", "http")}
    assert kinds == {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore", "https": "HTTPStore", "http": "HTTPStore"}
    assert client("s3", "bucket") is client("s3", "bucket")
    first = client("gs", "bucket")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:4444")
    assert client("gs", "bucket") is not first


def test_a_connection_string_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "DefaultEndpointsProtocol=http;AccountName=dev;AccountKey=a2V5PT0=;BlobEndpoint=http://127.0.0.1:10000/dev;"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    config, plain = obstore_config("az", "c")
    assert plain
    expected = {"account_name": "dev", "account_key": "a2V5PT0=", "endpoint": "http://127.0.0.1:10000/dev"}
    assert config == expected
    assert gdal_options("az://c/k") == {}


def test_an_address_on_the_web_and_a_bucket_are_not_written_to() -> None:
    for word, why in (("https://host/x.zarr", "only be read"), ("s3://bucket", "nothing in it")):
        with pytest.raises(StorageError, match=why):
            place(word).write_bytes(b"")


def test_what_is_not_known_of_an_error_is_one_line() -> None:
    text = "Generic S3 error: it\n broke\n\nDebug source:\nGeneric {\n  much\n}"
    with pytest.raises(StorageError) as caught, plainly("s3://b/k"):
        raise ValueError(text)
    assert str(caught.value) == "s3://b/k: Generic S3 error: it broke"
    with pytest.raises(AccessError, match="AWS_ACCESS_KEY_ID"), plainly("s3://b/k"):
        raise ValueError("Generic S3 error: Missing AccessKeyId")

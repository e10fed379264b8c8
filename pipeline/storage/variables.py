"""One set of environment variables for two libraries: what the user sets, told to obstore and to GDAL alike.

S3's are those of the AWS command line; obstore's and GDAL's own names are understood too. Keys that both libraries
find by themselves (AWS_ACCESS_KEY_ID, web identities, the metadata services of cloud hosts) are left to them.
"""

from __future__ import annotations

import configparser
import json
import os
import re
from pathlib import Path
from typing import Any

_ADDRESS = re.compile(r"https?://(\[|(\d+\.){3}\d+(:|/|$))")
YES = {"1", "yes", "true", "on"}
NAMES = (
    *("HOME", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_S3_ENDPOINT", "AWS_HTTPS", "AWS_ALLOW_HTTP"),
    *("AWS_VIRTUAL_HOSTING", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AWS_NO_SIGN_REQUEST", "AWS_SKIP_SIGNATURE"),
    *("AWS_REQUEST_PAYER", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    *("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GS_NO_SIGN_REQUEST", "GOOGLE_SKIP_SIGNATURE"),
    *("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_KEY"),
    *("AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
    *("AZURE_NO_SIGN_REQUEST", "AZURE_SKIP_SIGNATURE"),
)
"""Every variable that is looked at here: clients are made anew where one changes."""
_ADC = ".config/gcloud/application_default_credentials.json"


def current() -> tuple[str | None, ...]:
    """The variables as they are now."""
    return tuple(map(os.environ.get, NAMES))


def obstore_config(scheme: str, bucket: str) -> tuple[dict[str, Any], bool]:
    """What obstore's store of this scheme is to be told, and whether it may speak plain http."""
    return _s3(bucket) if scheme == "s3" else {"gs": _gs, "az": _az}[scheme]()


def gdal_options(path: str) -> dict[str, str]:
    """What GDAL is to be told for this path, that it does not read from the same variables by itself."""
    if path.startswith(("s3://", "/vsis3/")):
        return _gdal_s3()
    if path.startswith(("gs://", "/vsigs/")):
        return _gdal_gs()
    if path.startswith(("az://", "/vsiaz/")):
        return _gdal_az()
    return {}


def endpoint() -> str | None:
    """S3's endpoint, with its scheme; None for Amazon's own."""
    found = _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_S3_ENDPOINT")
    if found is None or "://" in found:
        return found.rstrip("/") if found else None
    plain = (_first("AWS_HTTPS") or "yes").lower() not in YES or _says("AWS_ALLOW_HTTP")
    return f"{'http' if plain else 'https'}://{found.rstrip('/')}"


def _s3(bucket: str) -> tuple[dict[str, Any], bool]:
    where, profile = endpoint(), _profile()
    config: dict[str, Any] = {"virtual_hosted_style_request": _virtual(where), "skip_signature": _unsigned()}
    region = _first("AWS_REGION", "AWS_DEFAULT_REGION") or profile.get("region")
    if where is not None:  # with the bucket in it where it is part of the host's name
        config["endpoint"] = where.replace("://", f"://{bucket}.", 1) if _virtual(where) else where
    if region is not None:
        config["region"] = region
    if _first("AWS_REQUEST_PAYER"):
        config["request_payer"] = True
    if not _unsigned() and _first("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE") is None:
        for key, name in (
            ("access_key_id", "aws_access_key_id"),
            ("secret_access_key", "aws_secret_access_key"),
            ("session_token", "aws_session_token"),
        ):
            if name in profile:
                config[key] = profile[name]
    return config, where is not None and where.startswith("http://")


def _gdal_s3() -> dict[str, str]:
    where = endpoint()
    options = {"AWS_VIRTUAL_HOSTING": "TRUE" if _virtual(where) else "FALSE"}
    if where is not None:
        options["AWS_HTTPS"] = "NO" if where.startswith("http://") else "YES"
        options["AWS_S3_ENDPOINT"] = where.partition("://")[2]
    region = _first("AWS_REGION", "AWS_DEFAULT_REGION")
    if region is not None:
        options["AWS_REGION"] = region
    if _unsigned():
        options["AWS_NO_SIGN_REQUEST"] = "YES"
    return options


def _virtual(where: str | None) -> bool:
    """Whether the bucket is part of the host's name: at Amazon, not elsewhere, unless the user says so."""
    if where is not None and _ADDRESS.match(where):  # there is no name to put it in
        return False
    said = _first("AWS_VIRTUAL_HOSTING", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST")
    return where is None if said is None else said.lower() in YES


def _unsigned() -> bool:
    return _says("AWS_NO_SIGN_REQUEST") or _says("AWS_SKIP_SIGNATURE")


def _profile() -> dict[str, str]:
    """The user's section of ~/.aws/credentials and ~/.aws/config: plain keys and region."""
    name = _first("AWS_PROFILE", "AWS_DEFAULT_PROFILE") or "default"
    home = Path(os.environ.get("HOME", "/")) / ".aws"
    found: dict[str, str] = {}
    for file, section in (
        (os.environ.get("AWS_CONFIG_FILE") or home / "config", name if name == "default" else f"profile {name}"),
        (os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials", name),
    ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, "utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        if parser.has_section(section):
            found |= dict(parser.items(section))
    return found


def _gs() -> tuple[dict[str, Any], bool]:
    config: dict[str, Any] = {}
    if _says("GS_NO_SIGN_REQUEST") or _says("GOOGLE_SKIP_SIGNATURE"):
        config["skip_signature"] = True
    host = _emulator()
    if host is not None:  # the emulators' own variable; they take no key
        nobody = {"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True}
        config["service_account_key"] = json.dumps(nobody | {"gcs_base_url": host})
        config["skip_signature"] = True
    return config, host is not None and host.startswith("http://")


def _gdal_gs() -> dict[str, str]:
    options = {}
    known = Path(os.environ.get("HOME", "/")) / _ADC
    if _first("GOOGLE_APPLICATION_CREDENTIALS") is None and known.is_file():
        options["GOOGLE_APPLICATION_CREDENTIALS"] = str(known)
    host = _emulator()
    if host is not None:
        options["CPL_GS_ENDPOINT"] = f"{host}/"
    if host is not None or _says("GOOGLE_SKIP_SIGNATURE"):
        options["GS_NO_SIGN_REQUEST"] = "YES"
    return options


def _emulator() -> str | None:
    host = _first("STORAGE_EMULATOR_HOST")
    return host if host is None or "://" in host else f"http://{host}"


def _az() -> tuple[dict[str, Any], bool]:
    said = _connection()
    values = {
        "account_name": _first("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME") or said.get("AccountName"),
        "account_key": _first("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
        or said.get("AccountKey"),
        "sas_key": _first("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY") or said.get("SharedAccessSignature"),
        "endpoint": said.get("BlobEndpoint"),
    }
    config: dict[str, Any] = {key: value for key, value in values.items() if value}
    if _says("AZURE_NO_SIGN_REQUEST") or _says("AZURE_SKIP_SIGNATURE"):
        config["skip_signature"] = True
    return config, str(values["endpoint"]).startswith("http://")


def _gdal_az() -> dict[str, str]:
    if _first("AZURE_STORAGE_CONNECTION_STRING"):
        return {}
    config = _az()[0]
    names = {
        "account_name": "AZURE_STORAGE_ACCOUNT",
        "account_key": "AZURE_STORAGE_ACCESS_KEY",
        "sas_key": "AZURE_STORAGE_SAS_TOKEN",
    }
    options = {name: str(config[key]) for key, name in names.items() if key in config}
    return options | ({"AZURE_NO_SIGN_REQUEST": "YES"} if config.get("skip_signature") else {})


def _connection() -> dict[str, str]:
    words = (_first("AZURE_STORAGE_CONNECTION_STRING") or "").split(";")
    return {name.strip(): value.strip() for name, _, value in (word.partition("=") for word in words) if value}


def _first(*names: str) -> str | None:
    """The first of the variables that says anything."""
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _says(name: str) -> bool:
    return os.environ.get(name, "").lower() in YES

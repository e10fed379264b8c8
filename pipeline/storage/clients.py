"""obstore's clients: one for each bucket of a process, with bounded retries; its errors in one line each."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

from pipeline.errors import AccessError, ConditionError, MissingObjectError, RangeError, StorageError
from pipeline.storage.variables import current, obstore_config

CONNECT_SECONDS, REQUEST_SECONDS, RETRY_SECONDS = 5, 60, 25
"""To be connected; for one request in whole; after which nothing is tried again."""
_RETRIES: Any = {
    "max_retries": 8,
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2},
    "retry_timeout": timedelta(seconds=RETRY_SECONDS),
}
_KEYS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_NO_SIGN_REQUEST=YES for public data",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or GS_NO_SIGN_REQUEST=YES for public data",
    "az": "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or AZURE_NO_SIGN_REQUEST=YES for public data",
    "https": "give an address that is public or signed",
}
_ENDPOINTS = {
    "s3": "check AWS_ENDPOINT_URL, the region and the network",
    "gs": "check STORAGE_EMULATOR_HOST and the network",
    "az": "check AZURE_STORAGE_ACCOUNT and the network",
    "https": "check the address and the network",
}


_SIGNS = {
    "ConnectionRefused": "connection refused",
    "dns error": "the host is not known",
    "TimedOut": "no answer in time",
    "Connect": "no connection",
}


def client(scheme: str, bucket: str, prefix: str = "") -> Any:
    """The store of a bucket (https: of a host), made once in a process for the variables as they are now."""
    return _client(os.getpid(), scheme, bucket, prefix, current())


@lru_cache(maxsize=64)
def _client(_process: int, scheme: str, bucket: str, prefix: str, _variables: tuple[str | None, ...]) -> Any:
    options: Any = {"connect_timeout": f"{CONNECT_SECONDS}s", "timeout": f"{REQUEST_SECONDS}s"}
    if scheme in ("http", "https"):
        options["allow_http"] = scheme == "http"
        return HTTPStore.from_url(f"{scheme}://{bucket}/{prefix}", client_options=options, retry_config=_RETRIES)
    config, plain = obstore_config(scheme, bucket)
    options["allow_http"] = plain
    kind: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[scheme]
    return kind(bucket, prefix=prefix or None, config=config, client_options=options, retry_config=_RETRIES)


@contextmanager
def plainly(url: str, *, writing: bool = False) -> Iterator[None]:
    """Turn what obstore raises into a StorageError about the address: one line, what happened and what to do.

    MissingObjectError for an object that is not there, AccessError for what may not be done, ConditionError for a
    condition that does not hold; these are FileNotFoundError, PermissionError and FileExistsError too.
    """
    try:
        yield
    except StorageError:
        raise
    except (BaseError, OSError, ValueError) as error:
        raise _translated(error, url, writing) from error


def _translated(error: Exception, url: str, writing: bool) -> StorageError:
    scheme, text = url.partition("://")[0], str(error)
    scheme = "https" if scheme == "http" else scheme
    first = " ".join(text.partition("\n\nDebug source")[0].split())
    code = re.search(r"<Code>(\w+)</Code>", text)
    if "NoSuchBucket" in text or "ContainerNotFound" in text or (writing and isinstance(error, FileNotFoundError)):
        return StorageError(errno.EIO, "there is no such bucket; make it first, or check its name", url)
    if isinstance(error, FileNotFoundError):
        return MissingObjectError(errno.ENOENT, "there is no such object", url)
    if isinstance(error, AlreadyExistsError | PreconditionError):
        return ConditionError(errno.EEXIST, "it is there already", url)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or "403 Forbidden" in text:
        return AccessError(errno.EACCES, f"access denied{f' ({code[1]})' if code else ''}; {_KEYS[scheme]}", url)
    if "416 Range" in text or "Range started at" in text:
        return RangeError(errno.EINVAL, "it has no bytes there; it is shorter than it should be", url)
    if isinstance(error, NotSupportedError):
        return StorageError(errno.ENOTSUP, "the server cannot do this", url)
    if "169.254.169.254" in text or "metadata.google" in text or "Missing" in first:
        return AccessError(errno.EACCES, f"no credentials were found; {_KEYS[scheme]}", url)
    for sign, what in _SIGNS.items():
        if sign in text:
            where = re.search(r"https?://[^/\s,)]+", text)
            return StorageError(errno.EIO, f"{what}{f' by {where[0]}' if where else ''}; {_ENDPOINTS[scheme]}", url)
    if "redirect" in first.lower() or "301 Moved" in text:
        return StorageError(errno.EIO, "the bucket lies in another region; set AWS_REGION", url)
    return StorageError(errno.EIO, code[1] if code else first[:200], url)

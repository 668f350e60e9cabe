"""Files anywhere: what tells them apart, fetching them whole, putting results away.

Sources are fetched whole and then read from the local disk. A restoration reads its source more
than once (the blur, the planes, the reblur check), and one request for all of it is what object
stores serve best and what can be checked against its length. GDAL streams what is larger than the
temporary folder (`gdal_path`).
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imagine_deblur.archive.item import REMOTE, Identity, scheme_of, without_secrets
from imagine_deblur.errors import ImagineDeblurError, InputImageError
from imagine_deblur.support.extras import require

STALLED_BYTES_PER_SECOND = 1000
"""A transfer slower than this is broken off: a scene of 100 MB would take more than a day."""


_GONE, _FORBIDDEN = (404, 410), (401, 403)  # HTTP status codes


class TransferError(ImagineDeblurError, OSError):
    """A remote file could not be read or written this time; another attempt may succeed."""


def check_scheme(source: str) -> None:
    """Refuse what is neither a local path nor a scheme that is read.

    Raises
    ------
    InputImageError
        The message names the scheme and those that are read.
    """
    scheme = scheme_of(source)
    if scheme and scheme not in REMOTE:
        raise InputImageError(
            f"{without_secrets(source)}: scheme {scheme!r} is not read; local paths, "
            f"{', '.join(f'{name}://' for name in REMOTE)} are",
            path=source,
        )


def filesystem(url: str, timeout: float) -> Any:
    """Return the fsspec file system of a URL.

    Parameters
    ----------
    url : str
    timeout : float
        Seconds that a connection, or a read of one, may take.

    Raises
    ------
    ImportError
        The extra ``[archive]`` is not installed.
    """
    check_scheme(url)
    fsspec = require("fsspec", extra="archive", purpose=f"{scheme_of(url)}://")
    if scheme_of(url) == "s3":
        require("s3fs", extra="archive", purpose="s3://")
        return fsspec.filesystem(
            "s3",
            anon=os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in {"YES", "TRUE", "1"},
            config_kwargs={"connect_timeout": timeout, "read_timeout": timeout},
        )
    aiohttp = require("aiohttp", extra="archive", purpose="https://")
    limits = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
    return fsspec.filesystem("http", client_kwargs={"timeout": limits})


def identity(source: str, timeout: float) -> Identity:
    """Return what tells this version of a file from another.

    Raises
    ------
    OSError
        It is not there or cannot be read; `TransferError` where another attempt may succeed.
    """
    if not scheme_of(source):
        status = os.stat(source)
        return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    files = filesystem(source, timeout)
    try:
        files.invalidate_cache()
        info = files.info(source)
    except Exception as error:
        raise typed(source, error) from error
    found: dict[str, int | str] = {}
    if isinstance(info.get("size"), int):
        found["size"] = info["size"]
    etag = info.get("ETag") or info.get("etag")
    if etag:
        found["etag"] = str(etag).strip('"')
    elif info.get("LastModified") or info.get("Last-Modified"):
        found["modified"] = str(info.get("LastModified") or info.get("Last-Modified"))
    return found


def fetch(url: str, target: Path, timeout: float, expected: Identity) -> None:
    """Read a remote file into a local one.

    Parameters
    ----------
    url : str
    target : Path
        Replaced.
    timeout : float
        Seconds without a byte, or with fewer than `STALLED_BYTES_PER_SECOND` on average, after
        which the transfer is broken off.
    expected : mapping
        Its `identity`: a file of another length is refused.

    Raises
    ------
    OSError
        As `identity`.
    """
    files = filesystem(url, timeout)
    watch = _stall_watch(url, timeout)
    try:
        files.get_file(url, str(target), callback=watch)
    except Exception as error:
        raise typed(url, error) from error
    size = target.stat().st_size
    if "size" in expected and size != expected["size"]:
        raise TransferError(
            f"{without_secrets(url)}: {size} bytes arrived of {expected['size']}; broken off"
        )


def put(local: Path, url: str, timeout: float) -> None:
    """Write a local file to an address; object stores show it complete or not at all.

    Raises
    ------
    OSError
        As `identity`.
    """
    files = filesystem(url, timeout)
    try:
        files.put_file(str(local), url)
    except Exception as error:
        raise typed(url, error) from error


def exists(url: str, timeout: float) -> bool:
    """Whether there is a file at an address."""
    try:
        identity(url, timeout)
    except FileNotFoundError:
        return False
    return True


def gdal_path(source: str) -> str:
    """Return the name by which GDAL reads a source.

    Examples
    --------
    >>> gdal_path("s3://bucket/a/b.tif")
    '/vsis3/bucket/a/b.tif'
    """
    scheme = scheme_of(source)
    if scheme == "s3":
        parts = urlsplit(source)
        return f"/vsis3/{parts.netloc}{parts.path}"
    return f"/vsicurl/{source}" if scheme else source


def _stall_watch(url: str, timeout: float) -> Any:
    """Return fsspec's progress callback that breaks off a transfer that crawls."""
    callbacks = require("fsspec.callbacks", extra="archive", purpose=f"{scheme_of(url)}://")
    started = time.monotonic()

    class Watch(callbacks.Callback):  # type: ignore[name-defined, misc]
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            passed = time.monotonic() - started
            if passed > timeout and self.value < STALLED_BYTES_PER_SECOND * passed:
                raise TransferError(
                    f"{without_secrets(url)}: {self.value} bytes in {passed:.0f} s; broken off"
                )

    return Watch()


def typed(url: str, error: Exception) -> OSError:
    """Return the error of a file system as one of ours.

    Every file system has a family of errors of its own; what is not about the file itself may
    succeed at another time. fsspec says of whatever a web server did that the file is not found,
    and has the reason as its cause.
    """
    if isinstance(error, TransferError | PermissionError):
        return error
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
    reason = cause or error
    name = without_secrets(url)
    status = _status(reason)
    if status in _GONE or isinstance(reason, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if status in _FORBIDDEN:
        return PermissionError(errno.EACCES, f"the server says {status}", name)
    if status:
        return TransferError(f"{name}: the server says {status}")
    if isinstance(reason, TimeoutError):
        return TransferError(f"{name}: the server is silent; try again later, or raise --timeout")
    if status == 0:  # aiohttp's, of what came before any status
        return TransferError(f"{name}: {type(reason).__name__}")
    return TransferError(f"{name}: {without_secrets(str(reason)) or type(reason).__name__}")


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that a web server or an object store answered with."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore's way
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(error, "status", None)
    return status if isinstance(status, int) else None

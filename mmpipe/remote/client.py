"""The client of an object store: its file system by protocol, and its faults, classed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError, MmpipeError, TransientError

_CLIENT_FAULTS = ("botocore.", "aiobotocore.", "aiohttp.", "urllib3.", "asyncio.")
_STORE_BUSY = ("InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout", "500", "503")


def file_system(path: Path) -> Any:
    """Return the file system of a path; fsspec keeps one per process, thread loop and options."""
    import fsspec

    protocol = path.parts[0].removesuffix(":")
    try:
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        extra = "mmpipe[s3]" if protocol in ("s3", "s3a") else f"the fsspec file system of {protocol}"
        raise ConfigError(f"{path} needs {extra}, which is not installed: pip install '{extra}'") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}. Use a folder, or a URL such as s3://bucket/prefix.") from error


@contextmanager
def speaking(path: Path) -> Iterator[None]:
    """Class the faults of a client: what is missing or refused stays as it is, the rest may pass."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError):
        raise
    except (MmpipeError, TypeError, ValueError, KeyError, ImportError):
        raise
    except Exception as error:
        kind = f"{type(error).__module__}.{type(error).__name__}"
        if "Credentials" in kind:
            raise ConfigError(
                f"{path}: no credentials for the object store. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "a profile."
            ) from error
        if (
            code_of(error) in _STORE_BUSY
            or kind.startswith(_CLIENT_FAULTS)
            or isinstance(error, TimeoutError | ConnectionError)
        ):
            raise TransientError(
                f"{path}: the object store did not answer ({kind}). Nothing is lost: run again."
            ) from error
        raise


def code_of(error: BaseException) -> str:
    """Return the S3 code behind a fault, "" where there is none."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


# --------------------------------------------------------------------------- S3 itself: one request a question


def is_s3(path: Path) -> bool:
    """Say whether a path is of S3, whose own calls are known here."""
    return path.parts[0] in ("s3:", "s3a:")


def place_of(path: Path) -> dict[str, str]:
    """Return how S3 names an object."""
    return {"Bucket": path.parts[1], "Key": "/".join(path.parts[2:])}


def look_s3(path: Path) -> dict[str, Any]:
    """Return what S3 tells of an object; FileNotFoundError where there is none. fsspec would ask for a folder then."""
    answer: dict[str, Any] = file_system(path).call_s3("head_object", **place_of(path))
    return answer


def get_s3(path: Path) -> tuple[bytes, str]:
    """Return an object's bytes and their etag, by one answer."""
    from fsspec.asyn import sync

    system = file_system(path)

    async def get() -> tuple[bytes, str]:
        answer = await system._call_s3("get_object", **place_of(path))
        async with answer["Body"] as body:
            return await body.read(), answer["ETag"]

    found: tuple[bytes, str] = sync(system.loop, get)
    return found


def list_s3(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, what is told of it) for all that is directly below; fsspec would list the parent of an empty one."""
    system, place = file_system(path), place_of(path)
    prefix = f"{place['Key']}/" if place["Key"] else ""
    following: dict[str, str] = {}
    while True:
        found = system.call_s3("list_objects_v2", Bucket=place["Bucket"], Prefix=prefix, Delimiter="/", **following)
        for entry in found.get("CommonPrefixes", ()):
            yield entry["Prefix"][len(prefix) : -1], {"type": "directory"}
        for entry in found.get("Contents", ()):
            if name := entry["Key"][len(prefix) :]:
                yield name, {**entry, "type": "file", "size": entry["Size"]}
        if not found.get("IsTruncated"):
            return
        following = {"ContinuationToken": found["NextContinuationToken"]}

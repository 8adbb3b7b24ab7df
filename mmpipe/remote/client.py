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

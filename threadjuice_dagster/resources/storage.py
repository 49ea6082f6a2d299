"""Where files go: pictures a reader fetches, backups an operator restores. A folder, or an S3 bucket.

What is stored, and under which key, is decided by the callers. Keys are relative paths of letters,
digits and ``._=+@-``, parted by ``/``.
"""

import contextlib
import io
import os
import re
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import dagster as dg
from pydantic import PrivateAttr

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure
from threadjuice_dagster.resources.encryption import Readable as Source
from threadjuice_dagster.resources.s3 import GONE, code_of, refusal

IMMUTABLE = "public, max-age=31536000, immutable"
"""``Cache-Control`` of a file whose key names its content: a year, as long as caches keep anything."""

_KEY = re.compile(r"(?:[A-Za-z0-9_=+@-][A-Za-z0-9._=+@-]*/)*[A-Za-z0-9_=+@-][A-Za-z0-9._=+@-]*")
_BINARY = "application/octet-stream"
_INCOMING = ".incoming"
_PARALLEL = 8
_BLOCK = 1 << 18
_PART = 16 << 20  # S3 takes 10,000 parts of an upload: 160 GB in one file, 48 MB of it in memory
_TRIES = 4
_YOUNG = timedelta(hours=12)  # far below the age at which a clean-up takes a file that no story names for left over


class Upload(NamedTuple):
    """One file to store."""

    key: str
    data: bytes
    content_type: str = _BINARY
    cache_control: str = ""


class Storage(dg.ConfigurableResource, ABC):
    """A place for files. Every method raises ``TransientFailure`` or ``PermanentFailure``."""

    @abstractmethod
    def put(self, key: str, data: bytes, content_type: str = _BINARY, cache_control: str = "") -> None:
        """Store a file whole or not at all; one already there is replaced."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The file's bytes."""

    @abstractmethod
    def stored_at(self, key: str) -> datetime | None:
        """When the file was stored last, or None if there is none of this key."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the file; one that is not there is removed already."""

    @abstractmethod
    def entries(self, prefix: str = "") -> Iterator[tuple[str, datetime]]:
        """The keys that start with ``prefix`` and when each was stored, one by one, in no order."""

    @abstractmethod
    def url(self, key: str) -> str:
        """Where the file can be read."""

    @abstractmethod
    def put_stream(self, key: str, source: Source) -> None:
        """Store a file of any size whole or not at all, in little memory; a source that raises leaves nothing."""

    @abstractmethod
    def get_stream(self, key: str) -> AbstractContextManager[Source]:
        """The file's bytes one after the other."""

    @abstractmethod
    def discard_unfinished(self, prefix: str, before: datetime) -> None:
        """Remove what killed processes left of files they were storing under ``prefix``, if older than ``before``."""

    def put_many(self, uploads: Iterable[Upload]) -> None:
        """Store several files; on a failure some of them may be stored."""
        for upload in uploads:
            self.put(*upload)

    def exists(self, key: str) -> bool:
        """Whether there is a file of this key."""
        return self.stored_at(key) is not None

    def list(self, prefix: str = "") -> list[str]:
        """The keys that start with ``prefix``, sorted."""
        return sorted(key for key, _ in self.entries(prefix))


class FolderStorage(Storage):
    """A folder. ``public_url`` is the address it is served under; without one a file's own address is used."""

    root: str
    public_url: str = ""

    def put(self, key: str, data: bytes, content_type: str = _BINARY, cache_control: str = "") -> None:
        """Written beside, then moved into place; type and caching are for the server of the folder to say."""
        self.put_stream(key, io.BytesIO(data))

    def put_stream(self, key: str, source: Source) -> None:
        """Written beside, then moved into place."""
        target = self._path(key)
        incoming = self._incoming / uuid.uuid4().hex
        with _disk_failures(key):
            target.parent.mkdir(parents=True, exist_ok=True)
            incoming.parent.mkdir(exist_ok=True)
            try:
                with incoming.open("wb") as file:
                    shutil.copyfileobj(source, file, _BLOCK)
                    file.flush()
                    os.fsync(file.fileno())
                incoming.replace(target)
            finally:
                incoming.unlink(missing_ok=True)

    @contextlib.contextmanager
    def get_stream(self, key: str) -> Iterator[Source]:
        """The open file."""
        with _disk_failures(key):
            file = self._path(key).open("rb")
        with file:
            yield _File(file, key)

    def discard_unfinished(self, prefix: str, before: datetime) -> None:
        """Remove files that nobody has written to since, of whatever prefix: they have no key yet."""
        with _disk_failures("a file left by a killed process"):
            for path in self._incoming.glob("*"):
                with contextlib.suppress(FileNotFoundError):  # its writer has just finished
                    if path.stat().st_mtime < before.timestamp():
                        path.unlink()

    def get(self, key: str) -> bytes:
        """The file's bytes."""
        with _disk_failures(key):
            return self._path(key).read_bytes()

    def stored_at(self, key: str) -> datetime | None:
        """The file's time."""
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError):  # deleted a moment ago
            return _time_of(path) if path.is_file() else None
        return None

    def delete(self, key: str) -> None:
        """Remove the file; the folders it stood in stay."""
        with _disk_failures(key):
            self._path(key).unlink(missing_ok=True)

    def entries(self, prefix: str = "") -> Iterator[tuple[str, datetime]]:
        """The keys that start with ``prefix`` and their files' times; what is still being written is left out."""
        root = Path(self.root).absolute()
        for path in (root / prefix.rpartition("/")[0]).rglob("*"):
            key = path.relative_to(root).as_posix()
            if key.startswith(prefix) and not key.startswith(f"{_INCOMING}/") and path.is_file():
                with contextlib.suppress(FileNotFoundError):  # deleted a moment ago
                    yield key, _time_of(path)

    def url(self, key: str) -> str:
        """The public address, or a ``file:`` one."""
        path = self._path(key)
        return f"{self.public_url.rstrip('/')}/{key}" if self.public_url else path.as_uri()

    @property
    def _incoming(self) -> Path:
        return Path(self.root).absolute() / _INCOMING

    def _path(self, key: str) -> Path:
        return Path(self.root).absolute() / checked_key(key)


class _File:
    """Reads a file, and tells a failing disk from what the reader does."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self._file, self._key = file, key

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, up to ``size`` of them."""
        with _disk_failures(self._key):
            return self._file.read(size)


class S3Storage(Storage):
    """An S3 bucket. Credentials, region and endpoint are boto3's own ``AWS_*`` variables, never fields.

    ``prefix`` is put before every key; ``public_url`` is the address at which a reader finds the
    bucket's ``prefix``. ``any_key`` says that others choose the keys, so that any of theirs is taken.
    """

    bucket: str
    prefix: str = ""
    public_url: str = ""
    any_key: bool = False
    _client: Any = PrivateAttr(None)

    def put(self, key: str, data: bytes, content_type: str = _BINARY, cache_control: str = "") -> None:
        """Upload. An immutable key already there in this size is sent again only to be young again."""
        known = self._head(key) if cache_control == IMMUTABLE else {}
        if known and known["ContentLength"] == len(data) and datetime.now(UTC) - known["LastModified"] < _YOUNG:
            return
        headers = {"ContentType": content_type, **({"CacheControl": cache_control} if cache_control else {})}
        with self._failures(key):
            self.client.put_object(Bucket=self.bucket, Key=self._full(key), Body=data, **headers)

    def put_many(self, uploads: Iterable[Upload]) -> None:
        """Several uploads at a time."""
        _ = self.client
        with ThreadPoolExecutor(_PARALLEL) as pool:
            for done in [pool.submit(self.put, *upload) for upload in uploads]:
                done.result()

    def get(self, key: str) -> bytes:
        """The object's bytes."""
        with self._failures(key):
            return bytes(self.client.get_object(Bucket=self.bucket, Key=self._full(key))["Body"].read())

    def put_stream(self, key: str, source: Source) -> None:
        """A multipart upload, aborted if the source or the upload fails."""
        from boto3.s3.transfer import TransferConfig

        transfer = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=2)
        transfer.max_in_memory_upload_chunks = 2
        with self._failures(key):
            self.client.upload_fileobj(source, self.bucket, self._full(key), Config=transfer)

    @contextlib.contextmanager
    def get_stream(self, key: str) -> Iterator[Source]:
        """The object's bytes; a connection that breaks is taken up again where it broke."""
        yield _Download(self, key)

    def discard_unfinished(self, prefix: str, before: datetime) -> None:
        """Abort multipart uploads begun before."""
        start = self._start + prefix
        with self._failures("an unfinished upload"):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=start)
            for upload in (one for page in pages for one in page.get("Uploads", ())):
                if upload["Initiated"].astimezone(UTC) < before:
                    name = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                    self.client.abort_multipart_upload(Bucket=self.bucket, **name)

    def stored_at(self, key: str) -> datetime | None:
        """When the object was stored, by the server's clock."""
        moment: datetime | None = self._head(key).get("LastModified")
        return moment

    def delete(self, key: str) -> None:
        """Remove the object."""
        with self._failures(key):
            self.client.delete_object(Bucket=self.bucket, Key=self._full(key))

    def entries(self, prefix: str = "") -> Iterator[tuple[str, datetime]]:
        """The keys that start with ``prefix``, without the storage's own prefix, and when each was stored."""
        start = self._start
        with self._failures(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start + prefix)
            for item in (item for page in pages for item in page.get("Contents", ())):
                yield item["Key"].removeprefix(start), item["LastModified"]

    def url(self, key: str) -> str:
        """The public address, or the object's own at the endpoint."""
        checked_key(key)
        if self.public_url:
            return f"{self.public_url.rstrip('/')}/{key}"
        return f"{self.client.meta.endpoint_url}/{self.bucket}/{self._full(key)}"

    @property
    def client(self) -> Any:
        """The one boto3 client; it may be shared by threads."""
        if self._client is None:
            self._client = _s3_client()
        return self._client

    @property
    def _start(self) -> str:
        return f"{self.prefix.strip('/')}/" if self.prefix.strip("/") else ""

    def _full(self, key: str) -> str:
        return self._start + (key if self.any_key else checked_key(key))

    def _head(self, key: str) -> dict[str, Any]:
        """What the server says of an object; nothing if there is none."""
        from botocore.exceptions import ClientError

        with self._failures(key):
            try:
                return dict(self.client.head_object(Bucket=self.bucket, Key=self._full(key)))
            except ClientError as error:
                if code_of(error) in GONE:
                    return {}
                raise

    @contextlib.contextmanager
    def _failures(self, key: str) -> Iterator[None]:
        """Name bucket, key and next step for whatever boto3 raises."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

        place = f"{key or 'the listing'} in bucket {self.bucket}"
        try:
            yield
        except ClientError as error:
            raise refusal(error, place, self.bucket) from error
        except NoCredentialsError as error:
            next_step = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role."
            raise ConfigurationError(f"There are no credentials for {place}.", next_step) from error
        except ParamValidationError as error:
            raise ConfigurationError(f"{self.bucket!r} is no bucket's name.", "Correct the bucket's name.") from error
        except BotoCoreError as error:
            message = f"Storage did not answer for {place} ({type(error).__name__})."
            next_step = "Check AWS_ENDPOINT_URL_S3 and the network, then try again."
            raise TransientFailure(message, next_step, exhausted=True) from error


class _Download:
    """Reads an object, opening it again from where it was when the connection breaks."""

    def __init__(self, storage: S3Storage, key: str) -> None:
        self._storage, self._key, self._at = storage, key, 0
        with storage._failures(key):
            self._body = self._open()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, up to ``size`` of them."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        with self._storage._failures(self._key):
            for attempt in range(_TRIES):
                try:
                    data = bytes(self._body.read(size if size >= 0 else None))
                    self._at += len(data)
                    return data
                except (HTTPClientError, IncompleteReadError):
                    if attempt == _TRIES - 1:
                        raise
                    self._body = self._open(f"bytes={self._at}-")
        return b""

    def _open(self, byte_range: str = "") -> Any:
        wanted = {"Range": byte_range} if byte_range else {}
        full = self._storage._full(self._key)
        return self._storage.client.get_object(Bucket=self._storage.bucket, Key=full, **wanted)["Body"]


def checked_key(key: str) -> str:
    """The key as given. Raises ``PermanentFailure`` for one that could leave the storage's own place."""
    if len(key) > 900 or not _KEY.fullmatch(key):
        next_step = "Use a relative path of letters, digits and ._=+@- with no part that starts with a dot."
        raise PermanentFailure(f"{key[:80]!r} cannot be a key in storage.", next_step)
    return key


def _time_of(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


@contextlib.contextmanager
def _disk_failures(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise PermanentFailure(f"{key} is not in storage.", "Materialize what makes it again.") from error
    except PermissionError as error:
        raise PermanentFailure(f"The storage folder refuses {key}.", "Let this user write to the folder.") from error
    except OSError as error:
        message = f"{key} could not be read or written: {error.strerror or type(error).__name__}."
        raise TransientFailure(message, "Check the disk's space and health.") from error


def _s3_client() -> Any:
    import boto3
    from botocore.config import Config

    # Other makes of S3 serve buckets as paths, and not all of them know AWS's newer checksums.
    own_endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        retries={"mode": "standard", "max_attempts": 4},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=_PARALLEL * 2,
        s3={"addressing_style": "path" if own_endpoint else "auto"},
        request_checksum_calculation="when_required" if own_endpoint else "when_supported",
        response_checksum_validation="when_required" if own_endpoint else "when_supported",
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return boto3.session.Session().client("s3", config=config, region_name=region)

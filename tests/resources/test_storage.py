import http.server
import io
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import boto3
import dagster as dg
import pytest
from moto.server import ThreadedMotoServer

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure
from threadjuice_dagster.resources.storage import IMMUTABLE, FolderStorage, S3Storage, Storage, Upload

HOSTILE_KEYS = [
    "",
    "/etc/passwd",
    "../outside",
    "img/../../outside",
    "img//x",
    "img/.hidden",
    ".incoming/x",
    "img/\0x",
    "img\\x",
    "img/x\n",
    "~/x",
    "a" * 1000,
]


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSECRET")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket="pictures")
    for item in client.list_objects_v2(Bucket="pictures").get("Contents", []):
        client.delete_object(Bucket="pictures", Key=item["Key"])
    return S3Storage(bucket="pictures", prefix="press/")


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return FolderStorage(root=str(tmp_path / "files")) if request.param == "folder" else request.getfixturevalue("s3")


def test_what_is_put_can_be_read_listed_and_deleted(storage: Storage) -> None:
    storage.put("img/abc/480.jpg", b"one", "image/jpeg", IMMUTABLE)
    storage.put("img/abc/768.jpg", b"two", "image/jpeg")
    storage.put("backups/x.dump", b"three")
    assert storage.get("img/abc/480.jpg") == b"one"
    assert storage.exists("img/abc/480.jpg")
    assert storage.list("img/") == ["img/abc/480.jpg", "img/abc/768.jpg"]
    assert storage.list() == ["backups/x.dump", "img/abc/480.jpg", "img/abc/768.jpg"]
    assert storage.get("backups/x.dump") == b"three"
    storage.delete("img/abc/480.jpg")
    storage.delete("img/abc/480.jpg")
    assert not storage.exists("img/abc/480.jpg")


def test_a_file_is_replaced_whole(storage: Storage) -> None:
    storage.put("a.txt", b"a long first text")
    storage.put("a.txt", b"short")
    assert storage.get("a.txt") == b"short"


def test_many_files_are_put_at_once(storage: Storage) -> None:
    storage.put_many(Upload(f"img/x/{i}.jpg", b"%d" % i, "image/jpeg", IMMUTABLE) for i in range(30))
    assert len(storage.list("img/x/")) == 30
    assert storage.get("img/x/17.jpg") == b"17"


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_a_key_that_leads_outside_is_refused(storage: Storage, key: str, tmp_path: Path) -> None:
    for attempt in (lambda: storage.put(key, b"x"), lambda: storage.get(key), lambda: storage.delete(key)):
        with pytest.raises(PermanentFailure, match="cannot be a key"):
            attempt()
    assert not (tmp_path / "outside").exists()


def test_a_missing_file_is_a_permanent_failure_that_names_it(storage: Storage) -> None:
    with pytest.raises(PermanentFailure, match=r"img/none\.jpg"):
        storage.get("img/none.jpg")


def test_a_folder_keeps_nothing_of_a_write_that_failed(tmp_path: Path) -> None:
    storage = FolderStorage(root=str(tmp_path))
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "folder").mkdir()
    (tmp_path / "img" / "folder" / "x").touch()
    with pytest.raises(TransientFailure, match="img/folder"):
        storage.put("img/folder", b"a file where a folder stands")
    assert list((tmp_path / ".incoming").iterdir()) == []
    assert storage.list() == ["img/folder/x"]


@pytest.mark.parametrize("size", [0, 1, 40_000_000])
def test_a_stream_of_any_size_comes_back_as_it_went(storage: Storage, size: int) -> None:
    data = random.Random(size).randbytes(size)
    storage.put_stream("backups/x/dump", io.BytesIO(data))
    with storage.get_stream("backups/x/dump") as source:
        assert b"".join(iter(lambda: source.read(1 << 20), b"")) == data
    assert storage.list() == ["backups/x/dump"]


class Failing:
    """Gives so many bytes and then fails."""

    def __init__(self, size: int) -> None:
        self._data = io.BytesIO(bytes(size))

    def read(self, size: int = -1, /) -> bytes:
        data = self._data.read(size)
        if len(data) == size:
            return data
        raise PermanentFailure("The source broke.")


@pytest.mark.parametrize("size", [0, 1000, 40_000_000])
def test_a_stream_that_fails_leaves_nothing_and_says_why(storage: Storage, size: int, tmp_path: Path) -> None:
    storage.put("backups/x/dump", b"what was there before")
    with pytest.raises(PermanentFailure, match="The source broke"):
        storage.put_stream("backups/x/dump", Failing(size))
    assert storage.get("backups/x/dump") == b"what was there before"
    if isinstance(storage, S3Storage):
        assert "Uploads" not in storage.client.list_multipart_uploads(Bucket="pictures")
    assert not list((tmp_path / "files").glob(".incoming/*"))


def test_a_missing_file_cannot_be_streamed(storage: Storage) -> None:
    with pytest.raises(PermanentFailure, match="backups/none"), storage.get_stream("backups/none") as source:
        source.read(1)


def test_what_killed_processes_left_of_a_folder_is_discarded_by_age(tmp_path: Path) -> None:
    storage, now = FolderStorage(root=str(tmp_path)), datetime.now(UTC)
    storage.put("backups/x/dump", b"whole")
    left = tmp_path / ".incoming" / "left"
    left.write_bytes(b"half")
    storage.discard_unfinished("backups/", now - timedelta(days=1))
    assert left.exists()
    storage.discard_unfinished("backups/", now + timedelta(days=1))
    assert not left.exists()
    assert storage.list() == ["backups/x/dump"]


def test_uploads_that_killed_processes_left_in_a_bucket_are_aborted_by_age_and_prefix(s3: S3Storage) -> None:
    for key in ("press/backups/x/dump", "press/other/dump", "backups/of-others"):
        s3.client.create_multipart_upload(Bucket="pictures", Key=key)

    def unfinished() -> list[str]:
        return [one["Key"] for one in s3.client.list_multipart_uploads(Bucket="pictures").get("Uploads", [])]

    s3.discard_unfinished("backups/", datetime(2000, 1, 1, tzinfo=UTC))
    assert len(unfinished()) == 3
    s3.discard_unfinished("backups/", datetime.now(UTC) + timedelta(days=1))
    assert sorted(unfinished()) == ["backups/of-others", "press/other/dump"]
    for upload in s3.client.list_multipart_uploads(Bucket="pictures")["Uploads"]:
        s3.client.abort_multipart_upload(Bucket="pictures", Key=upload["Key"], UploadId=upload["UploadId"])


class Breaking(http.server.BaseHTTPRequestHandler):
    """Serves an object, and breaks the connection after so many bytes of each answer."""

    data = random.Random(1).randbytes(300_000)
    lasts = 100_000
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "bytes=0-")
        self.asked.append(wanted)
        rest = self.data[int(wanted.removeprefix("bytes=").rstrip("-")) :]
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.lasts])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("lasts", "whole"), [(100_000, True), (0, False)])
def test_a_download_that_breaks_is_taken_up_where_it_broke(
    s3: S3Storage, monkeypatch: pytest.MonkeyPatch, lasts: int, whole: bool
) -> None:
    monkeypatch.setattr(Breaking, "lasts", lasts)
    monkeypatch.setattr(Breaking, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Breaking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        with S3Storage(bucket="pictures").get_stream("a") as source:
            if whole:
                assert b"".join(iter(lambda: source.read(50_000), b"")) == Breaking.data
                assert Breaking.asked[:2] == ["bytes=0-", "bytes=100000-"]
            else:
                with pytest.raises(TransientFailure, match="bucket pictures"):
                    source.read(50_000)
        server.shutdown()


def test_a_folders_addresses_are_files_or_below_the_public_one(tmp_path: Path) -> None:
    assert FolderStorage(root=str(tmp_path)).url("img/a.jpg") == (tmp_path / "img/a.jpg").as_uri()
    public = FolderStorage(root=str(tmp_path), public_url="https://img.example.org/")
    assert public.url("img/a.jpg") == "https://img.example.org/img/a.jpg"


def test_a_bucket_keeps_type_and_caching_and_the_prefix(s3: S3Storage, s3_server: str) -> None:
    s3.put("img/a.avif", b"avif", "image/avif", IMMUTABLE)
    head = s3.client.head_object(Bucket="pictures", Key="press/img/a.avif")
    assert (head["ContentType"], head["CacheControl"]) == ("image/avif", "public, max-age=31536000, immutable")
    assert s3.url("img/a.avif") == f"{s3_server}/pictures/press/img/a.avif"
    assert S3Storage(bucket="pictures", public_url="https://img.example.org").url("a") == "https://img.example.org/a"


def test_an_immutable_object_already_there_is_not_sent_again(s3: S3Storage) -> None:
    s3.put("img/a.avif", b"1234", "image/avif", IMMUTABLE)
    before = s3.client.head_object(Bucket="pictures", Key="press/img/a.avif")["ETag"]
    s3.put("img/a.avif", b"4321", "image/avif", IMMUTABLE)
    assert s3.client.head_object(Bucket="pictures", Key="press/img/a.avif")["ETag"] == before
    s3.put("img/a.avif", b"4321", "image/avif")
    assert s3.get("img/a.avif") == b"4321"


def test_a_listing_goes_on_after_a_thousand_keys(s3: S3Storage) -> None:
    s3.put_many(Upload(f"n/{i:04}", b"") for i in range(1003))
    assert len(s3.list("n/")) == 1003


def test_a_missing_bucket_is_named_with_the_next_step(s3: S3Storage) -> None:
    with pytest.raises(ConfigurationError, match=r"no-such-bucket.*Create it"):
        S3Storage(bucket="no-such-bucket").put("a.txt", b"x")


def test_a_bucket_name_that_cannot_be_one_is_a_configuration_error(s3: S3Storage) -> None:
    with pytest.raises(ConfigurationError, match="no bucket's name"):
        S3Storage(bucket="not a bucket!").put("a.txt", b"x")


def test_missing_credentials_are_a_configuration_error(s3: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID"):
        S3Storage(bucket="pictures").get("a.txt")


def test_a_server_that_is_not_there_is_a_transient_failure(s3: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(TransientFailure, match="pictures") as caught:
        S3Storage(bucket="pictures").get("a.txt")
    assert caught.value.exhausted


def test_a_refusal_is_permanent_and_shows_no_secret(s3: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    from servers.pictures import Answer, picture_server

    body = b"<Error><Code>AccessDenied</Code><Message>AKIDSECRET may not</Message></Error>"
    with picture_server() as server:
        server.script["/pictures/a.txt"] = Answer(403, body, {"Content-Type": "application/xml"})
        server.script["/pictures/b.txt"] = Answer(503, b"<Error><Code>SlowDown</Code></Error>")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        storage = S3Storage(bucket="pictures")
        with pytest.raises(PermanentFailure, match="AccessDenied") as caught:
            storage.get("a.txt")
        with pytest.raises(TransientFailure, match="SlowDown"):
            storage.get("b.txt")
    assert "AKID" not in str(caught.value)


def test_either_storage_serves_an_asset_as_a_resource(tmp_path: Path) -> None:
    @dg.asset
    def stored(cdn: Storage) -> None:
        cdn.put("a.txt", b"x")

    assert dg.materialize([stored], resources={"cdn": FolderStorage(root=str(tmp_path))}).success
    assert (tmp_path / "a.txt").read_bytes() == b"x"

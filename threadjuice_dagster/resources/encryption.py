"""What a dump goes through on its way to storage and back: zstd, then age where there is a key.

Both are open formats, so that a backup can be opened without this program: ``age -d`` and ``zstd -d``. Nothing
here holds more than some blocks in memory. Whoever knows an age recipient can encrypt for it, and recipients are no
secret: that a file is ours is said by a signature, made with a key that is derived from the secret half.
"""

import hashlib
import hmac
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Protocol

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure

BLOCK = 1 << 18
LEVEL = 2
"""Of zstd. Level 3 takes longer than the dump, so that it would decide how long a backup takes."""

_IDENTITY = "AGE-SECRET-KEY-"
_SHORTEST_PASSPHRASE = 16
_SALT = b"threadjuice backup key"
_SIGNING = b"threadjuice backup manifest"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


class Readable(Protocol):
    """What is read from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, up to ``size`` of them, and none at the end."""
        ...


class Writable(Protocol):
    """What is written to."""

    def write(self, data: bytes, /) -> Any:
        """Take all of ``data``."""

    def flush(self) -> None:
        """Keep nothing back."""


class Encryptor:
    """Compresses and encrypts with one key: an age identity, a passphrase, or ``""`` for no encryption."""

    def __init__(self, key: str) -> None:
        self._identity = _identity(key) if key else None
        self.recipient = str(self._identity.to_public()) if self._identity else ""

    @property
    def tools(self) -> dict[str, str]:
        """What it compresses and encrypts with."""
        from threadjuice_dagster.resources.zstd import zstd

        return {"zstd": zstd.zstd_version, **({"pyrage": version("pyrage")} if self._identity else {})}

    def signature(self, content: bytes) -> str:
        """The HMAC-SHA256 of ``content`` by a key derived from the secret by HKDF (RFC 5869); empty without one."""
        if self._identity is None:
            return ""
        extracted = hmac.digest(_SALT, str(self._identity).encode(), "sha256")
        return hmac.digest(hmac.digest(extracted, _SIGNING + b"\x01", "sha256"), content, "sha256").hex()

    def signs(self, content: bytes, signature: str) -> bool:
        """Whether a signature is this key's."""
        given = signature.encode(errors="replace")
        return self._identity is not None and hmac.compare_digest(self.signature(content).encode(), given)

    def seal(self, source: Readable, target: Writable) -> int:
        """Write what is read, compressed and encrypted; returns how many bytes were read."""
        import pyrage

        compressing = _Compressing(source)
        reader = io.BufferedReader(compressing, BLOCK)
        if self._identity is None:
            shutil.copyfileobj(reader, target, BLOCK)
        else:
            pyrage.encrypt_io(reader, target, [self._identity.to_public()])
        return compressing.taken

    def unseal(self, source: Readable, target: Writable, *, encrypted: bool) -> None:
        """Write what was sealed as it was. Raises ``PermanentFailure`` if the file is not whole or not for this key."""
        import pyrage

        from threadjuice_dagster.resources.zstd import zstd

        plain = _Decompressing(target)
        try:
            if encrypted:
                pyrage.decrypt_io(source, plain, [self._identity])
            else:
                shutil.copyfileobj(source, plain, BLOCK)
        except BrokenPipeError:
            raise  # the target's affair
        except (pyrage.DecryptError, zstd.ZstdError, OSError) as error:
            raise PermanentFailure(f"The dump cannot be opened: {error}.", "Restore another backup.") from error
        if not plain.ended:
            raise PermanentFailure("The dump cannot be opened: it ends too early.", "Restore another backup.")


class Hashing:
    """Passes on what is read or written, and knows its SHA-256 and how many bytes it was."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._hash, self.bytes = stream, hashlib.sha256(), 0

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes of a stream that is read."""
        data = bytes(self._stream.read(size))
        self._count(data)
        return data

    def write(self, data: bytes, /) -> int:
        """Write to a stream that is written."""
        self._stream.write(data)
        self._count(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    @property
    def sha256(self) -> str:
        """Of everything so far, in hexadecimal."""
        return self._hash.hexdigest()

    def _count(self, data: bytes) -> None:
        self._hash.update(data)
        self.bytes += len(data)


@contextmanager
def produced(produce: Callable[[Writable], None]) -> Iterator[Readable]:
    """A stream of what ``produce`` writes in a thread of its own; reading to the end raises what it raised."""
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with os.fdopen(writing, "wb", buffering=BLOCK) as target:
                produce(target)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="backup")
    with os.fdopen(reading, "rb", buffering=BLOCK) as source:
        thread.start()
        try:
            yield _Watched(source, thread, failures)
        finally:
            source.close()
            thread.join()


class _Watched:
    def __init__(self, source: Readable, thread: threading.Thread, failures: list[BaseException]) -> None:
        self._source, self._thread, self._failures = source, thread, failures

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        if len(data) < size or size < 0:  # the end, whether the producer got there or died
            self._thread.join()
            if self._failures:
                raise self._failures[0]
        return data


class _Compressing(io.RawIOBase):
    """The compressed form of a stream."""

    def __init__(self, source: Readable) -> None:
        from threadjuice_dagster.resources.zstd import zstd

        self._source, self._ready, self.taken, self._ended = source, b"", 0, False
        self._compressor = zstd.ZstdCompressor(LEVEL)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            data = self._source.read(BLOCK)
            self.taken += len(data)
            self._ended = not data
            self._ready = self._compressor.compress(data) if data else self._compressor.flush()
        part = self._ready[: len(buffer)]
        self._ready = self._ready[len(part) :]
        buffer[: len(part)] = part
        return len(part)


class _Decompressing:
    """Writes the plain form of what is written to it, a block at a time however well it was compressed."""

    def __init__(self, target: Writable) -> None:
        from threadjuice_dagster.resources.zstd import zstd

        self._target, self._decompressor = target, zstd.ZstdDecompressor()

    @property
    def ended(self) -> bool:
        return self._decompressor.eof and not self._decompressor.unused_data

    def write(self, data: bytes, /) -> int:
        rest = bytes(data)
        while not self._decompressor.eof:
            plain = self._decompressor.decompress(rest, BLOCK * 4)
            self._target.write(plain)
            rest = b""
            if self._decompressor.needs_input:
                return len(data)
        if rest:
            raise PermanentFailure("The dump cannot be opened: something follows its end.", "Restore another backup.")
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""


def _identity(key: str) -> Any:
    """The age identity of a key. A passphrase is stretched by scrypt (32 MB): the same one gives the same identity."""
    import pyrage

    example = "Set it to an age identity (AGE-SECRET-KEY-1…, from age-keygen) or a passphrase of 16 characters or more."
    if not key.upper().startswith(_IDENTITY) and len(key) < _SHORTEST_PASSPHRASE:
        raise ConfigurationError(f"BACKUP_ENCRYPTION_KEY is too short ({len(key)} characters).", example)
    if not key.upper().startswith(_IDENTITY):
        stretched = hashlib.scrypt(key.encode(), salt=_SALT, n=1 << 15, r=8, p=1, maxmem=64 << 20, dklen=32)
        key = bech32(_IDENTITY.lower(), stretched).upper()
    try:
        return pyrage.x25519.Identity.from_str(key.upper())
    except pyrage.IdentityError:
        raise ConfigurationError("BACKUP_ENCRYPTION_KEY is no valid age identity.", example) from None


def bech32(name: str, data: bytes) -> str:
    """Bytes in the text form that age writes keys in (BIP 173): name, ``1``, data, checksum."""
    bits, width = int.from_bytes(data, "big"), len(data) * 8
    padding = -width % 5
    bits, width = bits << padding, width + padding
    values = [bits >> shift & 31 for shift in range(width - 5, -1, -5)]
    checksum = 1
    for value in [*(ord(letter) >> 5 for letter in name), 0, *(ord(letter) & 31 for letter in name), *values, *[0] * 6]:
        top, checksum = checksum >> 25, (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> bit & 1 else 0
    ending = [(checksum ^ 1) >> shift & 31 for shift in range(25, -1, -5)]
    return f"{name}1{''.join(_BECH32[value] for value in [*values, *ending])}"

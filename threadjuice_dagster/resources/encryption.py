"""Compression and encryption of what goes into the backups' storage: zstd, then age where there is a key.

Both are open formats, so ``age -d`` and ``zstd -d`` open a backup without this program. A dump is streamed: only some
blocks of it are in memory. Encryption does not say who made a file, since anybody can encrypt for an age recipient and
manifests name it. A signature does, made with a key that is derived from the secret half.
"""

import hashlib
import hmac
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Protocol

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure

BLOCK = 1 << 18
LEVEL = 2
"""Of zstd. Level 3 is slower than ``pg_dump``, so it would decide how long a backup takes."""

_SALT = b"threadjuice backup key"
_SIGNING = b"threadjuice backup manifest"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_ANOTHER = "Restore another backup."


class Readable(Protocol):
    """A stream to read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most ``size``, and none at the end."""
        ...


class Writable(Protocol):
    """A stream to write to."""

    def write(self, data: bytes, /) -> Any:
        """Take all of ``data``."""

    def flush(self) -> None:
        """Write out what is buffered."""


class Encryptor:
    """Compresses, encrypts and signs with an age identity; with ``""`` it only compresses.

    ``recipient`` is the public half of the identity, empty without one.
    """

    def __init__(self, key: str) -> None:
        self._identity = _parse_identity(key) if key else None
        self.recipient = str(self._identity.to_public()) if self._identity else ""

    @property
    def tools(self) -> dict[str, str]:
        """The versions of the libraries in use, by name."""
        from threadjuice_dagster.resources.zstd import zstd

        return {"zstd": zstd.zstd_version, **({"pyrage": version("pyrage")} if self._identity else {})}

    def sign(self, content: bytes) -> str:
        """Return the HMAC-SHA256 of ``content`` in hexadecimal, empty without a key.

        Its key is derived from the identity by HKDF (RFC 5869).
        """
        if self._identity is None:
            return ""
        extracted = hmac.digest(_SALT, str(self._identity).encode(), "sha256")
        return hmac.digest(hmac.digest(extracted, _SIGNING + b"\x01", "sha256"), content, "sha256").hex()

    def verify(self, content: bytes, signature: str) -> bool:
        """Return whether a signature of ``content`` was made with this key."""
        given = signature.encode(errors="replace")
        return self._identity is not None and hmac.compare_digest(self.sign(content).encode(), given)

    def encrypt(self, source: Readable, target: Writable) -> int:
        """Write what ``source`` holds, compressed and encrypted; return how many bytes were read."""
        import pyrage

        from threadjuice_dagster.resources.zstd import zstd

        size = 0

        def compress(compressed: Any) -> None:
            nonlocal size
            with zstd.ZstdFile(compressed, "w", level=LEVEL) as file:
                shutil.copyfileobj(source, file, BLOCK)
                size = file.tell()

        if self._identity is None:
            compress(target)
        else:
            with produced(compress) as compressed:
                pyrage.encrypt_io(compressed, target, [self._identity.to_public()])
        return size

    def decrypt(self, source: Readable, target: Writable, *, encrypted: bool) -> None:
        """Write the plain form of an encrypted file.

        Raises ``PermanentFailure`` if the file is not whole or was encrypted for another key.
        """
        import pyrage

        from threadjuice_dagster.resources.zstd import zstd

        def decompress(compressed: Any) -> None:
            with zstd.ZstdFile(compressed) as file:
                while data := file.read(BLOCK):
                    target.write(data)

        try:
            if encrypted:
                with produced(lambda compressed: pyrage.decrypt_io(source, compressed, [self._identity])) as compressed:
                    decompress(compressed)
            else:
                decompress(source)
        except BrokenPipeError:
            raise  # the reader of the target has ended: its own exit code says why
        except EOFError as error:
            raise PermanentFailure("The dump cannot be opened: it ends too early.", _ANOTHER) from error
        except (pyrage.DecryptError, zstd.ZstdError, OSError) as error:
            raise PermanentFailure(f"The dump cannot be opened: {error}.", _ANOTHER) from error


class HashingStream:
    """A stream that counts and hashes (SHA-256) the bytes that pass through it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._hash, self.bytes = stream, hashlib.sha256(), 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes of the stream."""
        data = bytes(self._stream.read(size))
        self._count(data)
        return data

    def write(self, data: bytes, /) -> int:
        """Write to the stream."""
        self._stream.write(data)
        self._count(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: no byte is buffered here."""

    @property
    def sha256(self) -> str:
        """The digest of everything so far, in hexadecimal."""
        return self._hash.hexdigest()

    def _count(self, data: bytes) -> None:
        self._hash.update(data)
        self.bytes += len(data)


@contextmanager
def produced(produce: Callable[[Writable], None]) -> Iterator[Readable]:
    """Yield a stream of what ``produce`` writes in a thread; reading to its end raises what ``produce`` raised."""
    reading, writing = os.pipe()

    def run() -> None:
        with os.fdopen(writing, "wb", buffering=BLOCK) as target:
            produce(target)

    with ThreadPoolExecutor(1, "backup") as thread, os.fdopen(reading, "rb", buffering=BLOCK) as source:
        yield _Produced(source, thread.submit(run))


class _Produced:
    def __init__(self, source: Readable, production: "Future[None]") -> None:
        self._source, self._production = source, production

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        if len(data) < size or size < 0:  # the producer has ended, by finishing or by failing
            self._production.result()
        return data


def new_identity() -> str:
    """Make an age identity, as ``age-keygen`` does."""
    import pyrage

    return str(pyrage.x25519.Identity.generate())


def identity_of_passphrase(passphrase: str) -> str:
    """Return the age identity that earlier versions derived from a passphrase, by scrypt (32 MB).

    Only for reading what they encrypted: a passphrase is no key any more.
    """
    data = hashlib.scrypt(passphrase.encode(), salt=_SALT, n=1 << 15, r=8, p=1, maxmem=64 << 20, dklen=32)
    return _bech32("age-secret-key-", data).upper()


def _parse_identity(key: str) -> Any:
    import pyrage

    try:
        return pyrage.x25519.Identity.from_str(key.upper())
    except pyrage.IdentityError:
        next_step = (
            "Make one: threadjuice database new-key (add --from-passphrase for the passphrase of an older version)."
        )
        raise ConfigurationError("BACKUP_ENCRYPTION_KEY is no age identity (AGE-SECRET-KEY-1…).", next_step) from None


def _bech32(name: str, data: bytes) -> str:
    """Return bytes in the text form of age's keys (BIP 173): name, ``1``, data, checksum."""
    bits = int.from_bytes(data, "big") << -len(data) * 8 % 5
    values = [bits >> shift & 31 for shift in range((len(data) * 8 - 1) // 5 * 5, -1, -5)]
    checksum = 1
    for value in [*(ord(letter) >> 5 for letter in name), 0, *(ord(letter) & 31 for letter in name), *values, *[0] * 6]:
        top, checksum = checksum >> 25, (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> bit & 1 else 0
    ending = [(checksum ^ 1) >> shift & 31 for shift in range(25, -1, -5)]
    return f"{name}1{''.join(_BECH32[value] for value in [*values, *ending])}"

"""Addresses of sites that an operator names himself, such as an instance of Lemmy or a forum that runs Discourse.

What is asked there belongs in the source's own file.
"""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from threadjuice_dagster.failures import UsageError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME = re.compile(r"(?=.{4,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+(?!\d+$)[a-z0-9-]{2,63}")
_PATH = re.compile(r"(?:/[\w.~%-]{1,100}){0,5}")


class SiteAddress(NamedTuple):
    """A site's address without a slash at its end, and its name: host, port if unusual, and folder if it has one."""

    url: str
    name: str

    @property
    def host(self) -> str:
        """The name of its host alone, without port and folder."""
        return urlsplit(self.url).hostname or ""


def site_at(address: str) -> SiteAddress:
    """Return the site at an address, which may lack ``https://`` and may end in the folder that the site stands in.

    Raises ``UsageError`` for no address of a public site: https with a name in the public DNS, or http on loopback.
    """
    address = address.strip().rstrip("/")
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        raise _no_site(address) from None
    is_loopback = host in _LOOPBACK
    is_allowed = parts.scheme == "https" or (parts.scheme == "http" and is_loopback)
    is_plain = "@" not in parts.netloc and not (parts.query or parts.fragment) and _PATH.fullmatch(parts.path)
    if not (is_allowed and is_plain and (is_loopback or _NAME.fullmatch(host))):
        raise _no_site(address)
    host = f"[{host}]" if ":" in host else host
    named = f"{host}:{port}" if port and (parts.scheme, port) != ("https", 443) else host
    return SiteAddress(f"{parts.scheme}://{named}{parts.path}", f"{named}{parts.path}")


def _no_site(address: str) -> UsageError:
    return UsageError(
        f"{address[:100]!r} is not the address of a public site.",
        "Name one that is reached by https, such as https://forum.example.org.",
    )

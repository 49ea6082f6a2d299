"""Decide which outside addresses may become links, and make the addresses of the site's own pages.

Nothing here reads a story's fields; that belongs in ``site/views.py``.
"""

import re
from urllib.parse import urlsplit

from threadjuice_dagster.failures import ConfigurationError

_UNSAFE = re.compile(r"""[\s\x00-\x1f\x7f<>"'`\\{}|^]""")
_COMMENT_ID = re.compile(r"[A-Za-z0-9_]{1,32}")
_BARE_THREAD = re.compile(r"/comments/[A-Za-z0-9]+/?$")


def safe_link(url: str) -> str:
    """Return ``url`` if readers may be sent there (http or https, a host, no odd characters), else an empty text."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return ""
    return url if usable and "@" not in parts.netloc and not _UNSAFE.search(url) else ""


def comment_link(source_url: str, comment_id: str) -> str:
    """Return the address of a comment in its thread, or an empty text.

    Reddit reads the part after a bare thread id as the thread's title, so a ``comment`` goes between.
    """
    source, comment = safe_link(source_url), comment_id.removeprefix("t1_")
    if not source or not _COMMENT_ID.fullmatch(comment):
        return ""
    parts = urlsplit(source)
    between = "comment/" if _BARE_THREAD.search(parts.path) else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{between}{comment}/"


def origin(url: str) -> str:
    """Return scheme, host and port of an address, as a content security policy names them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def root_of(path: str) -> str:
    """Return the relative path from a page to the top of the site: ``../../`` for ``story/x/index.html``."""
    return "../" * path.count("/")


def public_address(site_url: str, path: str) -> str:
    """Return the absolute address of a page or file, or without a ``site_url`` its path, without ``index.html``."""
    path = path.removesuffix("index.html")
    return f"{site_url}/{path}" if site_url else path


def base_of(site_url: str) -> str:
    """Return the path of the site's top on its host, such as ``/`` or ``/press/``."""
    return urlsplit(site_url).path.rstrip("/") + "/"


def site_address(site_url: str) -> str:
    """Return the site's address without a final slash. An empty one stays empty. Raises ``ConfigurationError``."""
    if site_url and not (safe_link(site_url) and not urlsplit(site_url).query and not urlsplit(site_url).fragment):
        raise ConfigurationError(
            "The address of the site is not an http(s) address.", "Set PRODUCTION_URL, e.g. https://threadjuice.com."
        )
    return site_url.rstrip("/")

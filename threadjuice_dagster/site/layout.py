"""The names of a built site's files and folders, and the marker that says which version a site is."""

from typing import NamedTuple, Self

from pydantic import ValidationError

from threadjuice_dagster.domain.model import Model

MARKER = "version.json"
"""The file of a site that holds its marker."""

SHARED, PICTURES = "assets/", "img/"
"""Folders whose files are named by their content: those that all pages share, and the pictures that no CDN serves."""


class File(NamedTuple):
    """A file of a site: its path from the top, the SHA-1 of its content, and its size in bytes."""

    path: str
    sha1: str
    size: int


class Marker(Model):
    """Which version a site is, how many stories it has, and the outside origins of its pictures."""

    version: str = ""
    stories: int = 0
    origins: tuple[str, ...] = ()

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Return the marker in a file or an answer; for anything else, the marker of a site without a version."""
        try:
            return cls.model_validate_json(body)
        except ValidationError:
            return cls()

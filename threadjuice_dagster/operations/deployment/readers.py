"""The site as a reader gets it: a page or a picture fetched from a deployment, with the time it took.

What an answer means belongs to whoever asks: ``assets/`` and ``operations/deployment/speed_rules.py``.
"""

import time
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.operations.deployment.targets import Opened
from threadjuice_dagster.resources.http import Answer, look


class Reading(NamedTuple):
    """What a link led to, and the seconds until all of it was there."""

    link: str
    answer: Answer
    seconds: float

    @property
    def text(self) -> str:
        """The page."""
        return self.answer.body.decode(errors="replace")


def read(site: Opened, link: str) -> Reading:
    """What a link of the front page leads to. Only the site's own address is sent the headers that open it.

    Raises ``TransientFailure`` where nothing answers.
    """
    address = urljoin(f"{site.url.rstrip('/')}/", link)
    own = urlsplit(address).netloc == urlsplit(site.url).netloc
    began = time.monotonic()
    answer = look(address, site.headers if own else None)
    return Reading(link, answer, time.monotonic() - began)


def read_page(site: Opened, link: str) -> Reading:
    """A page of the site. Raises ``PermanentFailure`` if it is not there."""
    reading = read(site, link)
    if reading.answer.status != 200:
        message = f"{link} answers {reading.answer.status} on the live site."
        raise PermanentFailure(message, "Deploy again, or: threadjuice deploy rollback")
    return reading

"""How long a site goes on fitting into a deployment: at today's pace, in stories and in days.

What the site weighs is noted by its build (``site/memory.py``), how it is sent is
``operations/deployment/vercel_uploads.py``.
"""

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.operations.findings import Finding, judged

PRO, HOBBY = 1_000_000_000, 100_000_000
"""Bytes that Vercel's plans take in a deployment (https://vercel.com/docs/limits)."""

PACKED = 3
"""Pages are sent packed, to a third or less; pictures are packed already."""

WINDOW_DAYS = 28
"""The days whose stories make today's pace."""

SOON_PRO, SOON_HOBBY = 180, 60
"""Days before a limit at which an operator is told of it."""


class SiteSize(Model):
    """What a built site consists of. ``recent`` are its stories of the last ``WINDOW_DAYS``."""

    stories: int
    recent: int
    files: int
    bytes: int
    story_bytes: int
    pictures: int
    picture_bytes: int

    @property
    def weight(self) -> float:
        """Bytes of a deployment as it is sent."""
        return self.picture_bytes + (self.bytes - self.picture_bytes) / PACKED

    @property
    def story_weight(self) -> float:
        """What one more story adds to it."""
        return max((self.picture_bytes + self.story_bytes / PACKED) / max(self.stories, 1), 1.0)


def capacity_finding(size: SiteSize, daily: int, *, has_cdn: bool) -> Finding:
    """When Vercel's limits are reached, and what to do about it; ``daily`` are the stories that are planned a day."""
    pace = size.recent / WINDOW_DAYS if size.recent else daily
    stories = {limit: int((limit - size.weight) / size.story_weight) for limit in (PRO, HOBBY)}
    days = {limit: left / max(pace, 0.01) for limit, left in stories.items()}
    told = f"{size.files:,} files, {size.weight / 1e6:,.1f} MB as sent, for {size.stories:,} stories."
    pro, hobby = (_reached(stories[limit], days[limit]) for limit in (PRO, HOBBY))
    told = f"{told} At {pace:.1f} stories a day Vercel's 1 GB (Pro) is reached {pro}, its 100 MB (Hobby) {hobby}."
    move = "Run: threadjuice maintenance optimize"
    if not has_cdn:
        move = f"Set CDN_BUCKET and IMAGE_CDN_URL, so that pictures are in no deployment. {move}"
    other = "Take a larger plan, or serve the folder target from a server of your own."
    return judged(
        "vercel_capacity",
        "alerts",
        told,
        ("failed", size.picture_bytes > PRO, told, move),
        ("warning", has_cdn and size.pictures > 0, f"{told} {size.pictures:,} files of pictures are in it.", move),
        ("warning", size.pictures > 0 and min(days[PRO] - SOON_PRO, days[HOBBY] - SOON_HOBBY) < 0, told, move),
        ("warning", days[PRO] < SOON_PRO, told, other),
    )


def _reached(stories: int, days: float) -> str:
    if stories <= 0:
        return "already"
    return f"in {stories:,} stories, {days:,.0f} days"

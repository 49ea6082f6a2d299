"""What Pelican makes of the stories: the same kinds of page, from the same Markdown files as Hugo."""

import json
from pathlib import Path

SITENAME = "ThreadJuice"
SITEURL = "https://threadjuice.example"
TIMEZONE = "UTC"
DEFAULT_LANG = "en"
ARTICLE_PATHS = ["story"]
THEME = str(Path(__file__).parent)
ARTICLE_URL, ARTICLE_SAVE_AS = "story/{slug}/", "story/{slug}/index.html"
CATEGORY_URL, CATEGORY_SAVE_AS = "category/{slug}/", "category/{slug}/index.html"
AUTHOR_URL, AUTHOR_SAVE_AS = "persona/{slug}/", "persona/{slug}/index.html"
MONTH_ARCHIVE_SAVE_AS = "archive/{date:%Y-%m}/index.html"
TAG_SAVE_AS = ""
DEFAULT_PAGINATION = 24
PAGINATED_TEMPLATES = {"category": 24, "author": 24}
FEED_ALL_RSS, FEED_ALL_ATOM, CATEGORY_FEED_ATOM, TRANSLATION_FEED_ATOM = "feed.xml", None, None, None
AUTHOR_FEED_ATOM, AUTHOR_FEED_RSS, FEED_MAX_ITEMS = None, None, 30
DIRECT_TEMPLATES = ["index", "archives"]
LOAD_CONTENT_CACHE = False
PICTURES = json.loads(Path("data/pictures.json").read_text()) if Path("data/pictures.json").exists() else {}

"""`content import --manual` as an operator uses it: corrections, refused updates, files that are no story."""

import json
from pathlib import Path
from typing import Any

from command import threadjuice
from corpora.stories import stories

GOAT, BUS, FENCE, *_ = [story.text for story in stories("dev")[-10:]]
SAME = "Letters from the allotments and the people who keep them there, part"
COUNTS = ("read", "imported", "updated", "unchanged", "rejected", "kept_back")


def written(folder: Path, name: str, text: str, **head: str) -> Path:
    lines = "".join(f"{key}: {value}\n" for key, value in {"category": "neighbours", **head}.items())
    path = folder / name
    path.write_text(f"---\n{lines}---\n\n{text}\n")
    return path


def imported(*arguments: Any) -> tuple[int, list[int], dict[str, Any]]:
    code, document, _ = threadjuice("content", "import", "--manual", *map(str, arguments))
    assert document["read"] == sum(document[name] for name in COUNTS[1:])
    return code, [document[name] for name in COUNTS], document


def test_manual_stories_are_read_as_written_corrected_and_never_overwrite_one_another(
    newsroom_environment: dict[str, str], tmp_path: Path
) -> None:
    head = {"title": "1984", "tags": "goats, rhubarb", "date": "2016-10-18T23:58:44Z"}
    author = "\n  name: Ada Reuter\n  email: ada@example.org"
    files = [
        written(tmp_path, "year.md", GOAT, author=author, **head),
        written(tmp_path, "part-1.md", BUS, title=f"{SAME} 1"),
        written(tmp_path, "part-2.md", FENCE, title=f"{SAME} 2"),
    ]
    assert imported(*files, "--dry-run")[1] == [3, 3, 0, 0, 0, 0]
    code, counts, document = imported(*files)
    assert (code, counts) == (0, [3, 3, 0, 0, 0, 0]), document
    pages = {story["title"]: Path(story["page"]) for story in document["stories"]}
    assert len({page.read_text() for page in pages.values()}) == len(pages) == 3
    page, site = pages["1984"], pages["1984"].parents[2]
    first = page.read_text()
    assert "written by <b>Ada Reuter</b>, a person" in first
    assert "example.org" not in first
    assert "<li>rhubarb</li>" in first
    assert 'datetime="2016-10-18T23:58:44+00:00">18 October 2016' in first
    assert "Updated" not in first
    assert "<pubDate>Tue, 18 Oct 2016 23:58:44 +0000</pubDate>" in (site / "feed.xml").read_text()
    maps = "".join(path.read_text() for path in site.glob("*sitemap*.xml"))
    assert "<lastmod>2016-10-18" in maps

    code, counts, _ = imported(written(tmp_path, "year.md", GOAT, author="Bo Reuter", **head), files[1])
    assert (code, counts) == (0, [2, 0, 1, 1, 0, 0])
    assert "written by <b>Bo Reuter</b>" in page.read_text()

    linked = GOAT.replace(". ", ". See [this](https://example.org/kettle). ", 1)
    before = page.read_text()
    for _ in range(2):
        code, counts, document = imported(written(tmp_path, "year.md", linked, author="Bo Reuter", **head))
        assert (code, counts) == (1, [1, 0, 0, 0, 1, 0])
        assert "update was refused, and the page stands" in document["refusals"][0]["reason"]
        assert "link" in document["refusals"][0]["reason"]
    assert page.read_text() == before


def test_what_is_no_story_or_not_public_stops_no_other_and_is_counted(
    newsroom_environment: dict[str, str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad\x1b[2J.md"
    bad.write_text("no head")
    files = [
        bad,
        written(tmp_path, "draft.md", GOAT, title="A draft", draft="true"),
        written(tmp_path, "gossip.md", GOAT, title="Gossip", category="revenge"),
        written(tmp_path, "future.md", GOAT, title="Not yet", date="2999-01-01"),
    ]
    code, counts, document = imported(*files)
    assert (code, counts) == (1, [4, 0, 0, 0, 2, 2])
    assert document["unknown_categories"] == {"revenge": 1}
    assert [one["file"] for one in document["refusals"]] == [r"bad\x1b[2J.md", "gossip.md"]
    assert [one["reason"] for one in document["held"]] == [
        "It is not public: draft: true",
        "It is not public: date: 2999-01-01",
    ]
    assert imported(files[2], "--map-category", "revenge=workplace", "--dry-run")[1] == [1, 1, 0, 0, 0, 0]
    assert json.loads(json.dumps(document))["stories"] == []
    code, document, _ = threadjuice("content", "import", "--manual", str(tmp_path / "nowhere.md"))
    assert (code, document["error"]["kind"]) == (2, "usage")

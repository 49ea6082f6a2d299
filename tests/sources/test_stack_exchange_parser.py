"""Questions as the Stack Exchange API sends them, and every form of an address within the network."""

from typing import Any

import pytest
from servers.stack_exchange_server import DAY, HOST, NOW, answer, comment, gone_user, question, user

from threadjuice_dagster.domain.story.threads import Author, Thread
from threadjuice_dagster.failures import Unsuitable, UsageError
from threadjuice_dagster.sources.stack_exchange_parser import (
    PostReference,
    host_of,
    is_address,
    parse_question,
    parse_saved,
    reference_in,
    saved_question,
    site_at,
    site_of,
    site_of_question,
)
from threadjuice_dagster.sources.thread_source import ThreadFormatError

SITES = {
    "stackoverflow.com": "stackoverflow",
    "superuser.com": "superuser",
    "serverfault.com": "serverfault",
    "askubuntu.com": "askubuntu",
    "mathoverflow.net": "mathoverflow.net",
    "stackapps.com": "stackapps",
    "workplace.stackexchange.com": "workplace",
    "meta.stackexchange.com": "meta",
    "workplace.meta.stackexchange.com": "workplace.meta",
    "meta.stackoverflow.com": "meta.stackoverflow",
    "meta.superuser.com": "meta.superuser",
    "meta.mathoverflow.net": "meta.mathoverflow.net",
    "es.stackoverflow.com": "es.stackoverflow",
    "es.meta.stackoverflow.com": "es.meta.stackoverflow",
}


def parsed(question_fields: dict[str, Any] | None = None, *hanging: dict[str, Any]) -> Thread:
    answers = [item for item in hanging if "answer_id" in item]
    comments = [item for item in hanging if "comment_id" in item]
    return parse_question({**question(98765), **(question_fields or {})}, "workplace", answers, comments)


@pytest.mark.parametrize(("host", "site"), SITES.items(), ids=lambda value: value)
def test_a_host_and_its_site_lead_to_each_other(host: str, site: str) -> None:
    assert (site_at(host), host_of(site), site_of(host), site_of(site)) == (site, host, site, site)
    assert site_of(f"https://{host}/") == site


def test_old_hosts_of_metas_and_www_lead_to_their_sites() -> None:
    assert site_at("meta.workplace.stackexchange.com") == "workplace.meta"
    assert site_at("WWW.StackOverflow.com") == "stackoverflow"


@pytest.mark.parametrize(
    "place", ["", "two words", "example.com", "workplace/98765", "../x", "https://example.com", "a" * 80]
)
def test_a_place_that_is_no_site_is_wrong_usage(place: str) -> None:
    with pytest.raises(UsageError, match="no site of Stack Exchange"):
        site_of(place)


@pytest.mark.parametrize(
    "reference",
    [
        f"https://{HOST}/questions/98765",
        f"https://{HOST}/questions/98765/my-manager-waters-the-plastic-fern",
        f"https://{HOST}/questions/98765/my-manager/98770#98770",
        f"http://{HOST}/questions/98765/my-manager?noredirect=1&lq=1#comment112233_98765",
        f"https://{HOST}/q/98765",
        f"https://{HOST}/q/98765/11",
        f"{HOST}/questions/98765/",
        "se-workplace-98765",
        " SE-workplace-98765\n",
    ],
)
def test_every_form_of_a_questions_address_is_understood(reference: str) -> None:
    assert is_address(reference.lower())
    assert reference_in(reference) == PostReference("workplace", "98765")


@pytest.mark.parametrize("reference", ["https://superuser.com/a/4711", "superuser.com/a/4711/12?x=y#z"])
def test_the_address_of_an_answer_is_told_from_a_questions(reference: str) -> None:
    assert reference_in(reference) == PostReference("superuser", "4711", is_answer=True)


@pytest.mark.parametrize(
    "reference",
    [
        "questions.json",
        "stackoverflow.com",
        "https://example.com/questions/98765",
        "https://notstackexchange.com/q/1",
        "https://stackoverflow.com.evil.example/q/1",
        "https://api.stackexchange.com/2.3/questions/1",
        "https://chat.stackexchange.com/rooms/1",
        "https://[broken/q/1",
        "hn-41234567",
        "r/jobs/comments/1abcde",
    ],
)
def test_what_is_no_address_of_the_network_is_not_recognised(reference: str) -> None:
    assert not is_address(reference)


@pytest.mark.parametrize(
    "path", ["", "questions", "questions/tagged/ferns", "users/11", "q/x", "questions/98765678901234"]
)
def test_an_address_without_a_question_names_none(path: str) -> None:
    assert is_address(f"https://{HOST}/{path}")
    assert reference_in(f"https://{HOST}/{path}") is None


def test_a_question_becomes_a_post_and_answers_and_comments_become_its_comments() -> None:
    thread = parsed(
        {"title": "Ferns &amp; &quot;plastic&quot; ones", "accepted_answer_id": 98771},
        answer(98770, 98765, "<p>Water hers back.</p><ul><li>daily</li></ul>"),
        answer(98771, 98765, "<p>Ask her &mdash; kindly.</p>", score=2, owner=user(11, "Fern Keeper")),
        comment(112233, 98765, "Does it <em>grow</em>?"),
        comment(112244, 98771, "She may like ferns.", score=90),
    )
    assert (thread.id, thread.source, thread.spec) == ("se-workplace-98765", "stackexchange", "stackexchange:workplace")
    assert (thread.community, thread.title, thread.score) == ("workplace", 'Ferns & "plastic" ones', 40)
    assert thread.body == "Every day at nine she waters it.\n\n> It looks thirsty, she says."
    assert thread.permalink == f"https://{HOST}/questions/98765/my-manager-waters-the-plastic-fern"
    assert thread.num_comments == 4
    shapes = {c.id: (c.kind, c.parent_id, c.depth, c.score, c.accepted, c.by_poster) for c in thread.comments}
    assert shapes == {
        "c112244": ("comment", "a98771", 1, 90, False, False),
        "a98770": ("answer", None, 0, 25, False, False),
        "c112233": ("comment", None, 0, 3, False, False),
        "a98771": ("answer", None, 0, 2, True, True),
    }
    assert [kept.id for kept in thread.comments] == list(shapes)
    assert thread.comments[1].body == "Water hers back.\n\n* daily"
    assert {kept.id: kept.permalink for kept in thread.comments} == {
        "a98770": f"https://{HOST}/a/98770",
        "a98771": f"https://{HOST}/a/98771",
        "c112233": f"https://{HOST}/questions/98765#comment112233_98765",
        "c112244": f"https://{HOST}/questions/98765#comment112244_98771",
    }


def test_authors_are_credited_by_name_and_profile() -> None:
    thread = parsed(
        {"owner": user(11, "Fern &amp; Sons")},
        answer(1, 98765, owner=gone_user("user4711")),
        answer(2, 98765, owner={"user_type": "does_not_exist"}),
        answer(3, 98765, owner=user(14, "Sly", link="https://evil.example/users/14/sly")),
        answer(4, 98765, owner=None),
        answer(5, 98765, owner=user(15, "Old", link=f"http://{HOST}/users/15/old?tab=profile")),
        answer(6, 98765, owner=user(16, "Odd", link=f'https://{HOST}/users/16/"><b>')),
    )
    assert thread.author == Author(name="Fern & Sons", url=f"https://{HOST}/users/11/fern-amp-sons")
    assert {kept.id: kept.author for kept in thread.comments} == {
        "a1": Author(name="user4711"),
        "a2": None,
        "a3": Author(name="Sly", url=f"https://{HOST}/users/14"),
        "a4": None,
        "a5": Author(name="Old", url=f"https://{HOST}/users/15/old"),
        "a6": Author(name="Odd", url=f"https://{HOST}/users/16"),
    }


def test_names_of_users_are_masked_in_texts() -> None:
    body = f'<p>As @DeskGardener and desk_gardener9 say, <a href="https://{HOST}/users/12/x">Bee</a> is right.</p>'
    thread = parsed({"body": body}, answer(1, 98765, owner=user(12, "desk_gardener9")))
    assert "desk_gardener9" not in thread.body
    assert "DeskGardener" not in thread.body
    assert "Bee" not in thread.body


def test_texts_of_programs_and_of_the_site_itself_are_left_out() -> None:
    automatic = [
        'Does this answer your question? <a href="https://x.example">Another fern</a>',
        "Possible duplicate of <a href='https://x.example'>Another fern</a>",
        "Comments are not for extended discussion; this conversation has been <a href='x'>moved to chat</a>.",
        "Let us <a href='x'>continue this discussion in chat</a>.",
        "This does not answer the question. - <a href='x'>From Review</a>",
    ]
    written = [comment(number, 98765, body) for number, body in enumerate(automatic, 1)]
    written += [comment(20, 98765, "Please add details.", owner=user(-1, "Community")), comment(21, 98765, "  ")]
    written += [comment(22, 98765, "We moved to chat over tea, not over email."), comment(23, 4711, "On another post.")]
    thread = parsed({}, *written, answer(30, 98765, owner=user(-1, "Community")), answer(31, 4711))
    assert [kept.id for kept in thread.comments] == ["c22"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"closed_date": NOW, "closed_reason": "Opinion-based"}, r"was closed \(Opinion-based\)"),
        ({"closed_date": NOW}, "was closed"),
        ({"closed_date": NOW, "closed_reason": "Duplicate", "answer_count": 0}, "was closed"),
        ({"locked_date": NOW}, "is locked"),
        ({"migrated_to": {"question_id": 5, "other_site": {"name": "Gardening"}}}, "was moved"),
        ({"owner": user(-1, "Community")}, "by a program"),
        ({"content_license": "All rights reserved"}, "licence"),
    ],
)
def test_a_question_that_its_site_does_not_want_discussed_becomes_no_story(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(Unsuitable, match=why):
        parsed(fields)


def test_an_answered_duplicate_and_a_community_wiki_may_become_a_story() -> None:
    assert parsed({"closed_date": NOW, "closed_reason": "Duplicate"}).num_comments == 2
    assert parsed({"community_owned_date": NOW}).author


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({}, "cc-by-sa-4.0"),
        ({"content_license": "CC BY-SA 3.0"}, "cc-by-sa-3.0"),
        ({"content_license": "CC BY-SA 2.5"}, "cc-by-sa-2.5"),
        ({"content_license": None, "creation_date": 1_302_220_799}, "cc-by-sa-2.5"),
        ({"content_license": None, "creation_date": 1_302_220_800}, "cc-by-sa-3.0"),
        ({"content_license": None, "creation_date": 1_525_219_199}, "cc-by-sa-3.0"),
        ({"content_license": None, "creation_date": 1_525_219_200}, "cc-by-sa-4.0"),
        ({"content_license": None, "creation_date": 1_302_220_799, "last_edit_date": NOW}, "cc-by-sa-4.0"),
    ],
)
def test_the_licence_is_the_posts_own_and_else_that_of_its_date(fields: dict[str, Any], licence: str) -> None:
    assert parsed(fields).licence == licence


def test_each_text_has_its_own_licence_and_other_licences_are_left_out() -> None:
    licences = ["CC BY-SA 3.0", "CC BY-SA 2.5", "CC BY-NC 4.0"]
    comments = [comment(number, 98765, content_license=licence) for number, licence in enumerate(licences, 1)]
    thread = parsed({"content_license": "CC BY-SA 2.5"}, *comments, answer(9, 98765))
    assert thread.licence == "cc-by-sa-2.5"
    assert {kept.id: kept.licence for kept in thread.comments} == {"a9": "cc-by-sa-4.0", "c1": "cc-by-sa-3.0", "c2": ""}


def test_fields_of_wrong_types_are_missing_fields() -> None:
    wrong: list[Any] = [None, True, [], {}, "x" * 50, -5, 1e300, float("nan"), {"a": []}, 10**5000]
    told = {"question_id", "title", "content_license"}
    for value in wrong:
        fields = dict.fromkeys(question(1).keys() - told, value)
        hanging = [dict.fromkeys(answer(1, 2), value) | {"answer_id": 7, "body": "<p>Yes.</p>"}]
        hanging += [dict.fromkeys(comment(1, 2), value) | {"comment_id": 8}, {"comment_id": value}]
        thread = parse_question(question(98765, **fields), "workplace", [*hanging, value], [*hanging, value])
        assert thread.permalink == f"https://{HOST}/questions/98765"


@pytest.mark.parametrize("fields", [{"question_id": 0}, {"question_id": True}, {"question_id": "x"}, {"title": " "}])
def test_a_question_without_id_or_title_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(ThreadFormatError, match=r"no (usable id|title)"):
        parsed(fields)


def test_a_long_thread_is_bounded() -> None:
    thread = parsed({}, *(comment(number, 98765, score=number) for number in range(1, 701)))
    assert (len(thread.comments), thread.comments[0].score) == (500, 700)
    assert len(parsed({"body": "<p>fern </p>" * 30_000}).body) <= 40_000


def test_the_key_of_a_long_site_fits() -> None:
    thread = parse_question(question(1_234_567_890), "softwareengineering.meta")
    assert len(thread.id) <= 32
    assert thread.permalink == "https://softwareengineering.meta.stackexchange.com/questions/1234567890"


def saved(*items: Any, **fields: Any) -> dict[str, Any]:
    return {"items": list(items), "has_more": False, "quota_max": 300, "quota_remaining": 299, **fields}


def thread_of(document: Any) -> Thread:
    found = saved_question(document)
    assert found is not None
    return parse_saved(found)


def test_a_saved_answer_holds_its_answers_and_comments_nested() -> None:
    bare = {name: value for name, value in comment(2, 5).items() if name != "post_id"}
    nested = question(98765, comments=[comment(1, 98765)], answers=[answer(5, 98765, comments=[bare])])
    thread = thread_of(saved(nested))
    assert thread.id == "se-workplace-98765"
    assert {kept.id: kept.parent_id for kept in thread.comments} == {"a5": None, "c1": None, "c2": "a5"}


PAGES = [
    saved(question(98765)),
    saved(answer(5, 98765), answer(6, 98765, score=2), answer(7, 4711)),
    saved(comment(1, 98765)),
    saved(comment(2, 5, score=1)),
]


@pytest.mark.parametrize("pages", [PAGES, PAGES[::-1], [*PAGES[2:], saved(), *PAGES[:2]], [*PAGES, *PAGES]])
def test_saved_answers_of_one_question_are_an_array_in_any_order(pages: list[Any]) -> None:
    thread = thread_of(pages)
    assert (thread.id, thread.num_comments) == ("se-workplace-98765", 4)
    assert [(kept.id, kept.parent_id) for kept in thread.comments] == [
        ("a5", None),
        ("c1", None),
        ("a6", None),
        ("c2", "a5"),
    ]


def test_an_array_needs_no_comments_and_may_hold_its_question_twice_or_its_answers_on_two_pages() -> None:
    bare = {name: value for name, value in question(98765).items() if name != "body"}
    pages = [saved(question(98765)), saved(bare), {"items": [answer(5, 98765)]}, {"items": [answer(6, 98765)]}]
    thread = thread_of(pages)
    assert thread.body
    assert [kept.id for kept in thread.comments] == ["a5", "a6"]


@pytest.mark.parametrize(
    "document",
    [
        saved(question(98765)),
        [saved(question(98765))],
        [saved(question(98765)), saved(comment(1, 98765))],
        [saved(question(98765)), saved(answer(5, 4711))],
    ],
)
def test_a_saved_question_without_the_answers_that_it_counts_says_what_to_put_beside_it(document: Any) -> None:
    with pytest.raises(
        ThreadFormatError, match=r"question without its answers: .* /questions/98765/answers .* one array"
    ):
        thread_of(document)


def test_a_saved_question_that_nobody_answered_is_whole() -> None:
    assert not thread_of(saved(question(98765, answer_count=0))).comments


def test_a_closed_question_is_refused_as_such_before_its_answers_are_missed() -> None:
    with pytest.raises(Unsuitable, match="was closed"):
        thread_of(saved(question(98765, closed_date=NOW, closed_reason="Opinion-based")))


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (saved(), "0 questions"),
        ([saved(), PAGES[1]], "0 questions"),
        ([saved(question(1)), saved(question(2))], "2 questions"),
        ([saved(question(1)), saved({**answer(5, 1), "body": None})], "answers have no body"),
        ([*PAGES[:2], saved({**comment(1, 98765), "body": None})], "comments have no body"),
        ([*PAGES[:2], {"foo": 1}], "more than answers"),
        ([*PAGES[:2], "x"], "more than answers"),
        ([PAGES[0], {"error_id": 400, "error_name": "bad_parameter"}], r"400 \(bad_parameter\)"),
        (saved(question(1), question(2)), "2 questions"),
        (saved(answer(1, 2)), "0 questions"),
        (saved({**question(1), "body": None}), "no body"),
        (
            {"error_id": 502, "error_name": "throttle_violation", "error_message": "later"},
            r"502 \(throttle_violation\)",
        ),
    ],
)
def test_an_answer_of_the_api_that_is_no_whole_question_says_why(document: Any, why: str) -> None:
    with pytest.raises(ThreadFormatError, match=why):
        saved_question(document)


@pytest.mark.parametrize(
    "document",
    [
        [{}, {}],
        ["x"],
        [{"items": 5}],
        [{"items": [{"id": 5}]}],
        None,
        [],
        "x",
        {},
        {"items": 5},
        {"items": [{"id": 5}]},
        {"data": {"children": []}},
    ],
)
def test_documents_of_others_are_left_to_them(document: Any) -> None:
    assert saved_question(document) is None


def test_a_saved_question_without_an_address_of_the_network_names_no_site() -> None:
    with pytest.raises(ThreadFormatError, match="leads to no site"):
        site_of_question(question(1, link="https://example.com/questions/1"))


def test_times_are_those_of_the_posts() -> None:
    thread = parsed({"creation_date": NOW - 40 * DAY}, comment(1, 98765))
    assert (thread.created_at.timestamp(), thread.comments[0].created_at.timestamp()) == (NOW - 40 * DAY, NOW - 5 * DAY)

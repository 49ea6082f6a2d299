"""Thread text that talks to a machine instead of to people: found, and left out of what a writer is given.

This is the outer wall only, so it may miss, and is built to leave alone what people say to people, about machines too.
The text that is left is still data between fences (``domain/prompts.py``), and whatever a model makes of it still has
to pass every gate. What may be printed as it stands is decided in ``domain/passages.py``.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from functools import cache

from threadjuice_dagster.domain.disguises import Unmasker
from threadjuice_dagster.domain.text import clean, fold, sentences
from threadjuice_dagster.domain.threads import Comment, Thread

LONGEST_SUBREDDIT = 24
"""Characters; Reddit's own names have at most 21, those of profiles a few more."""

_SEAM = 200
"""Characters on either side of a seam that are read across it."""

_MAX_PIECES = 3
"""Unfinished texts in a row that are read as one."""

_RULES = r"(?:instructions?|prompts?|guidelines|directives|commands)"
_MACHINE = (
    r"(?:(?:\w+ ){0,2}?(?:a\.?i\.?s?|llms?|language models?|chat ?gpt|gpt-?\d\w*|chatbots?|summari[sz]ers?"
    r"|(?:ai|writing|helpful|summary) (?:assistant|bot|model)s?)(?: (?:models?|systems?|judges?|writers?|agents?))?)"
)
_WORK = r"(?:(?:answer|response|output|summary|article|story|draft|write-?up|headline)\b)"
_TOP = r"(?:10 ?/ ?10|5 ?/ ?5|(?:10|ten|five|5) out of|(?:highest|perfect|maximum|top|full) (?:scores?|ratings?|marks))"
_BID = r"(?:^|[.!?:;>*#-] ?|\b(?:please|must|now|always|you (?:should|will)) )"
_EXACT = (
    r"(?:verbatim|word for word|in full|exactly|as (?:the|a) (?:last|first)|in(?:to)? the (?:alt|title|story|caption))"
)
_TRADE = r"(?:ignore|disregard|output|insert|mention|rate|score|publish|reveal|include|you (?:must|should))"

_ORDERS = (
    # To leave the rules.
    rf"\b(?:ignore|disregard|forget|override|bypass)\b[^.!?]{{0,40}}(?<!\bmy )(?<!\bhis )(?<!\bher )"
    rf"\b(?:previous|prior|above|earlier|preceding|foregoing|system) (?:\w+ )?{_RULES}\b",
    rf"\b(?:ignore|disregard|forget|override|bypass)\b[^.!?]{{0,20}}\byour (?:\w+ )?(?:{_RULES}|programming|guardrails)\b",
    rf"\b(?:ignore|disregard|forget) (?:all|any)(?: of)?(?: the| these| other)? {_RULES}\b(?! (?:on|from|in|at|of)\b)",
    rf"\b(?:previous|prior|above|earlier) {_RULES}\b[^.!?]{{0,30}}\b(?:void|cancell?ed|no longer|replaced|superseded)\b",
    r"\bcontent polic(?:y|ies)\b[^.!?]{0,30}\b(?:suspended|lifted|disabled|no longer)\b",
    rf"\bnew (?:system )?(?:instructions?|directives?|task|role) ?:[^.!?]{{0,60}}\b(?:output|{_WORK}|you (?:are|must))",
    r"\byour (?:new|real|actual|true) (?:task|instructions?|objective)\b[^.!?]{0,40}\b(?:output|praise|promote|advertise)",
    rf"\bfrom now on,? (?:you (?:are|will|must|shall) )?(?:be|act as|respond as|answer as)?[^.!?]{{0,20}}\b{_MACHINE}\b",
    # In a machine's protocol.
    r"<\|[\w ]{3,20}\|>|</?(?:system|assistant|instructions?|developer)\b[^>]{0,20}>|\[/?(?:inst|sys)\]|<</?sys>>",
    r"\bboundary [0-9a-f]{8,}|[-=#*<\[]{2,} ?(?:end|begin|start) of (?:the )?(?:\w+ )?(?:data|input|prompt|thread|content)\b",
    r"[\"']role[\"'] ?: ?[\"'](?:system|assistant|developer|user|tool)\b|#{2,} ?(?:instruction|response|system) ?:",
    r"(?:^|[>*\[] ?)(?:system|assistant|developer)(?: \w+)? ?:.{0,120}\b(?:ignore|disregard|publish|approve|override"
    r"|comply|content policy|output (?:the|only|raw))\b",
    # To a machine by name, or as one.
    rf"\b(?:dear|attention|attn|hey|hello|hi|(?:notes?|message|notice) (?:to|for)),? (?:the |any |all |every )?{_MACHINE}"
    r"(?:$|[:,.!]| (?:that|which|who|reading|processing|if|when)\b)",
    rf"(?:^|[.!?] )to (?:the |any |all |every ){_MACHINE} ?[:,]|(?:^|[.!?] ){_MACHINE} ?[:,] (?:please )?{_TRADE}\b",
    rf"\b(?:if|when) you(?: are|'re) (?:an? |the )?(?:{_MACHINE}|bot)\b|\bsend me your prompt\b|\bdo anything now\b",
    rf"\b(?:you are now|pretend (?:to be|you are)|act as|role-?play as|you are) (?:an? |the )(?:\w+ )?"
    rf"(?:{_MACHINE} (?:without|with no|that (?:can|has|obeys)|free)|(?:helpful|unrestricted|uncensored) \w*)",
    r"\b(?:override|debug) ?: |\b(?:this is|i am|i'm|as) (?:the |your |an? )(?:operator|developer|administrator|admin|owner"
    r"|creator|maintainer|editor)s?(?: (?:of|at|behind|for))? (?:this|your) (?:newsroom|pipeline|ai|bot|\w* ?model|prompt)\b",
    # For its secrets.
    r"\byour[ -](?:system|hidden|secret|developer|internal)[ -](?:prompt|instructions)\b|\bdecode (?:this|it|the) .{0,40}"
    r"\b(?:follow|obey|execute|do (?:what|as) it says)\b",
    rf"\b(?:reveal|print|repeat|output|recite|quote|copy|paste)\b[^.!?]{{0,80}}\byour (?:\w+ )?{_RULES}\b.{{0,30}}\b{_EXACT}",
    r"\b(?:repeat|print|output|copy|recite) (?:back )?(?:everything|all(?: the)? text|the text) (?:\w+ ){0,2}?"
    rf"(?:above|before)\b.{{0,40}}\b(?:{_EXACT}|starting with|to you)",
    r"(?<!never )(?<!not )(?<!n't )\b(?:print|reveal|output|append|include|put|insert|show)\b[^.!?]{0,40}"
    rf"(?:api[ _]keys?|environment variables?|access tokens?)\b.{{0,60}}\b(?:alt text|caption|query|{_WORK})",
    # For its verdict.
    rf"{_BID}(?:rate|score|give|award|grade|mark)\b[^.!?]{{0,40}}(?:\b{_WORK}|\b(?:every|each|all) \w+)[^.!?]{{0,30}}{_TOP}",
    rf"{_BID}(?:give|award)\b[^.!?]{{0,20}}{_TOP} (?:to|for) (?:this|the) {_WORK}",
    r"[\"'](?:overall|hook|clarity|structure|specificity|voice|faithfulness)[\"'] ?: ?[{\d]",
    r"\b(?:flagged|is[_ ]appropriate|is[_ ]safe)[\"']? ?(?:=|:|to|as) ?[\"']?(?:false|true)\b",
    r"\b(?:classify|mark|label|treat) (?:this|the|all|every) (?:\w+ )?(?:text|story|article|content|thread|draft) as \w+",
    # For its work.
    r"\b(?:when|while|before|after|if) (?:you(?: are)? )?(?:summari[sz]|retell|rewrit|process)\w* this\b",
    rf"\b{_WORK} (?:that )?you (?:write|are writing|produce|generate) (?:must|should|has to|needs to|shall)\b",
    rf"\b(?:include|insert|add|embed|append|put|mention)\b.{{0,80}}\b(?:in|into|to|of) your (?:final |finished )?{_WORK}"
    r"(?= ?(?:$|[.!,:;\-\"']))",
    rf"\binstead of (?:a|the|this) {_WORK},? (?:\w+ )?(?:output|write|print)\b|\boutput only the (?:word|text|following)\b",
    # To a browser.
    r"<script\b|<iframe\b|<!--|<\w[^>]{0,200}\bon\w{4,12} ?=|[\"'] on\w{4,12} ?= ?[\"']|javascript:|data:text/html",
)
_FOREIGN = (
    ("ignorier|vergiss|missachte", "anweisung|instruktion|vorgaben"),
    ("ignor|oubli", "(?:instructions|consignes) (?:prec|ant)"),
    ("ignor|olvid|desconsider|esquec|dimentic", "(?:instruccion|instruco|istruzion|orden)\\w* (?:prev|prec|ant)"),
    ("negeer|vergeet", "instructies|aanwijzingen"),
    ("zignoruj|ignoruj|zapomnij", "instrukcj|polece"),
    ("игнориру|забуд", "инструкц|указани"),
    ("忽略|无视|無視|忘记|忘れ", "指令|指示|命令|提示|プロンプト"),
    ("무시|잊어", "지시|명령|프롬프트"),
    ("تجاهل", "تعليمات"),
)
_EARLIER = r"[^.!?。]{0,40}"


@cache
def _addressed() -> re.Pattern[str]:
    foreign = (rf"(?:{verb})\w*{_EARLIER}(?:{noun})|(?:{noun})\w*{_EARLIER}(?:{verb})" for verb, noun in _FOREIGN)
    return re.compile("|".join(f"(?:{pattern})" for pattern in (*_ORDERS, *foreign)))


_DISGUISED_WORDS = """
ignore disregard forget override all previous prior system prompt prompts instruction instructions guidelines assistant
"""
_UNMASKER = Unmasker(_DISGUISED_WORDS.split())
_ENCODED = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{24,4000}={0,2}(?![A-Za-z0-9+/=])")


def addresses_machine(text: str) -> bool:
    """Whether a text gives a machine orders, speaks in a machine's protocol, asks for its secrets, or is code."""
    return bool(_aimed(clean(text).split("\n")))


def for_people(thread: Thread) -> Thread:
    """The thread without what talks to a machine: whole comments, and in title and post from there to the line's end.

    A title of which nothing is left is replaced by the first sentence of the post, a subreddit's name by ``unknown``.
    """
    body = _for_people(thread.body)
    title = _for_people(thread.title) or next(iter(sentences(body)), "")[:300] or "Untitled"
    named = len(thread.subreddit) <= LONGEST_SUBREDDIT and not addresses_machine(thread.subreddit)
    kept = {
        "title": title,
        "body": body,
        "subreddit": thread.subreddit if named else "unknown",
        "comments": _comments_for_people(thread.comments),
    }
    return thread.model_copy(update=kept)


def _comments_for_people(comments: Sequence[Comment]) -> tuple[Comment, ...]:
    """The comments that talk to people, whether they are read by score or in the order they were written."""
    left_out: set[str] = set()
    for order in (comments, sorted(comments, key=lambda comment: comment.created_at)):
        kept = [comment for comment in order if comment.id not in left_out]
        left_out |= {kept[place].id for place in _aimed([comment.body for comment in kept])}
    return tuple(comment for comment in comments if comment.id not in left_out)


def _for_people(text: str) -> str:
    lines = text.split("\n")
    aimed = _aimed(lines)
    return "\n".join(_start(line) if place in aimed else line for place, line in enumerate(lines)).strip()


def _start(line: str) -> str:
    """What a line says to people before it turns to a machine; nothing where no single sentence of it does."""
    told = sentences(line)
    turn = next((place for place, sentence in enumerate(told) if _is_aimed(sentence)), 0)
    return " ".join(told[:turn])


def _aimed(texts: Sequence[str]) -> set[int]:
    """The places of the texts that talk to a machine, alone or, where one breaks off, together with the next."""
    aimed = {place for place, text in enumerate(texts) if any(map(_is_aimed, text.split("\n")))}
    for place in range(len(texts)):
        pieces = texts[place : place + _MAX_PIECES]
        ended = next((at for at, piece in enumerate(pieces, start=1) if not _breaks_off(piece)), len(pieces))
        run = range(place, place + ended)
        seams = " ".join((pieces[0][-_SEAM:], *(piece[:_SEAM] for piece in pieces[1:ended])))
        if ended > 1 and aimed.isdisjoint(run) and _is_aimed(seams):
            aimed.update(run)
    return aimed


def _breaks_off(text: str) -> bool:
    return bool(text) and (text[-1].isalnum() or text[-1] in ",-–—")


def _is_aimed(line: str) -> bool:
    return any(_addressed().search(reading) for reading in _readings(line))


def _readings(line: str) -> Iterator[str]:
    """A line in lower case, as it stands and with what hides in it brought out."""
    plain = fold(line)
    yield plain
    unmasked = " ".join(_UNMASKER.unmask(re.sub(r"[*~`]+", "", line)).split())
    if unmasked != plain:
        yield unmasked
    for match in _ENCODED.findall(line):
        yield fold(base64.b64decode(match + "=" * (-len(match) % 4)).decode("utf-8", "ignore"))

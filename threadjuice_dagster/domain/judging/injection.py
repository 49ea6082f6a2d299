"""Thread text that talks to a machine instead of to people: found, and left out of what a writer is given.

This is the outer wall only, so it may miss, and is built to leave alone what people say to people, about machines too.
The text that is left is still data between fences (``domain/writing/prompts.py``), and whatever a model makes of it
still has to pass every gate. What may be printed as it stands is decided in ``domain/writing/passages.py``.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from functools import cache

from threadjuice_dagster.domain.language.disguises import Unmasker
from threadjuice_dagster.domain.language.text import clean, fold, head, sentences
from threadjuice_dagster.domain.story.threads import Comment, Thread

LONGEST_SUBREDDIT = 24
"""Characters; Reddit's own names have at most 21, those of profiles a few more."""

_SEAM = 200
"""Characters on either side of a seam that are read across it."""

_MAX_PIECES = 3
"""Unfinished texts in a row that are read as one."""

_MACHINE = (
    r"(?:a\.?i\.?s?|llms?|language models?|chat ?gpt|gpt(?:-?\d\w*)?|chatbots?|summari[sz]ers?"
    r"|(?:writing|helpful|summary|reviewer|judge|moderation|ai) (?:assistant|bot|model)s?)"
    r"(?: (?:models?|systems?|judges?|writers?|agents?))?\b"
)
_ANY_MACHINE = rf"(?:an? |the |any |all |every |your )?(?:[\w-]+ ){{0,2}}?{_MACHINE}"
_RULES = r"(?:instructions?|prompts?|guidelines|guidance|directives|commands)\b"
_EARLIER = r"(?<!\bmy )(?<!\bhis )(?<!\bher )\b(?:previous|prior|above|earlier|preceding|foregoing|system)"
_LEAVE = r"\b(?:ignore|disregard|forget|override|bypass|skip)\b"
_SAY = r"\b(?:reveal|print|repeat|output|recite|quote|paste|copy|show|disclose|list)\b"
_ADD = r"\b(?:include|insert|add|embed|append|put|mention)\b"
_MUST = r"\b(?:must|should|has to|have to|need to|needs to|shall|will)\b"
_WORK = r"\b(?:answer|response|output|summary|article|story|draft|write-?up|headline|tags)\b"
_EXACTLY = (
    r"\b(?:verbatim|word for word|in full|exactly|as the (?:first|last)|into? (?:the|a) (?:alt|title|story|code))"
)
_BID = r"(?:^|[.!?:;>*#-] ?|\b(?:please|kindly|must|now|always|you should) )"
_TOP = (
    r"\b(?:10 ?/ ?10|5 ?/ ?5|(?:10|ten|five|5) out of|(?:highest|perfect|maximum|top|full) (?:scores?|ratings?|marks))"
)
_DIMENSION = r"\b(?:hook|clarity|structure|specificity|voice|faithfulness)\b"
_FIELD = r"(?:title|dek|sections|quotes|tags|alt_text|flagged|categories|category_scores|overall)"
_SPEAKER = r"(?:system|assistant|admin\w*|developer|operator|maintenance|moderation|evaluation|security|owner)"

_ORDERS = (
    # To leave the rules.
    rf"{_LEAVE} ~ {_EARLIER} (?:\w+ )?{_RULES}",
    rf"{_LEAVE} ~ \byour (?:\w+ )?(?:{_RULES}|programming|guardrails)|{_LEAVE} your safety \w+",
    rf"{_LEAVE} (?:all|any)(?: of)?(?: the| these| other)? {_RULES}(?! (?:on|from|in|at|of)\b)",
    rf"{_LEAVE} (?:everything|all|what\w*) (?:that )?(?:you|was)\b ~ \b(?:told|said) (?:before|above|so far|until)",
    rf"{_LEAVE} what\w* (?:you|the system)\b ~ {_RULES}",
    rf"{_EARLIER} (?:{_RULES}|rules) ~ \b(?:void|cancell?ed|no longer|superseded)\b",
    r"\bcontent polic(?:y|ies)\b ~ \b(?:suspended|lifted|disabled|no longer)\b",
    rf"\bnew (?:system )?(?:instructions?|directives?|task|role) ?:[^.!?]{{0,60}}(?:{_WORK}|\byou (?:are|must))",
    r"\byour (?:new|real|actual|true) (?:task|instructions?|objective) ~ \b(?:output|praise|promote|advertise)",
    r"\bnew (?:directive|instruction)s? from (?:hq|the (?:operator|developer|admin|newsroom))\b|\bsystem override\b",
    r"\byou have no (?:restrictions|filters|guardrails)\b|\b(?:trained|maintains?|programmed) you\b[.:]",
    r"\buser'?s (?:real|actual|true) (?:request|task|question|instructions?)\b",
    r"\b(?:after|below|following) this (?:point|line|message)\b ~ \b(?:commands?|instructions?|trusted|orders?)\b",
    # In a machine's protocol, or in the form of its answer.
    r"<\|[\w ]{3,20}\|>|\[/?(?:inst|sys)\]|<</?sys>>|\[(?:system|admin)\]\(",
    r"</?(?:system|assistant|instructions?|developer)\b[^>]{0,20}>",
    r"</(?:thread|data|input|user|document|context|material|post|comments?|story|prompt)>",
    r"\bboundary [0-9a-f]{8,}|[-=#*<\[]{2} ?(?:end|begin|start) of (?:\w+ ){0,2}(?:data|input|prompt|thread|content)\b",
    r"[\"']role[\"'] ?: ?[\"'](?:system|assistant|developer|user)\b",
    r"#{2,} ?(?:instruction|response|system) ?:",
    rf"(?:^|[>*\[] ?){_SPEAKER}(?: \w+)? ?:.{{0,120}}\b(?:ignore|disregard|approve|override|comply|content policy)\b",
    rf"(?:^|[>*\[] ?)(?:ai )?{_SPEAKER}(?: \w+)? ?:.{{0,120}}\b(?:output (?:the|raw)|publish|removed by|verified)\b",
    r"(?:^|[>*\[] ?)(?:assistant|ai|bot|model) ?: (?:sure|certainly|of course|okay|understood|absolutely|here is)\b",
    rf"[\"']{_FIELD}[\"'] ?: ?[\"{{\[\dtf]|[\"']{_DIMENSION}[\"'] ?: ?[{{\d]|(?:{_DIMENSION}[^.!?]{{1,30}}){{3}}",
    r"^```(?:system|instructions?)\b",
    # To a machine by name, or as one.
    r"\b(?:dear|attention|attn|hey|hello|hi),? (?:\w+ )?(?:bots?|graders?|language model) ?[,:]",
    rf"\bas (?:the|an?) (?:grader|judge|evaluator),? you (?:{_MUST}|are required)",
    rf"\b(?:dear|attention|attn|hey|hello|hi|(?:note|message|notice)s? (?:to|for)),? {_ANY_MACHINE}(?:$|[:,.!])",
    rf"(?:^|[.!?] )(?:to|for) (?:the|any|all|every) (?:\w+ )?{_MACHINE} ?[:,]",
    rf"\b{_MACHINE} ?[:,] (?:please |kindly )?(?:you {_MUST}|(?:ignore|output|insert|rate|return|tell your|include)\b)",
    rf"\b(?:{_MACHINE}|(?:any|whichever|whatever) model) (?:(?:that|which|who) )?(?:is |are )?"
    r"(?:read|turn|process|pars|summari[sz]|judg|scor)(?:s|es|ing)? this\b",
    rf"\bas an? {_MACHINE} ~ \byou {_MUST}|\bdo anything now\b",
    rf"\b(?:if|when) you(?: are|'re) (?:an? |the )?(?:{_MACHINE}|bot\b)",
    rf"\b(?:you are|pretend to be|act as|role-?play as) ~ {_MACHINE} (?:without|with no|that can)\b",
    rf"\b(?:you are(?: now)?|act as) an? (?:\w+ )?(?:helpful|unrestricted|uncensored) \w+|\bfrom now on,? ~ {_MACHINE}",
    r"\b(?:you are no longer|stop being) (?:an? |the )?(?:journalist|writer|assistant|judge|editor|ai|model)\b",
    rf"\b(?:this is|i am|i'm|as) (?:the |your |an? ){_SPEAKER} (?:of |at |behind )?(?:this|your) "
    r"(?:newsroom|pipeline|ai|language model|prompt)\b",
    # For its secrets.
    r"\byour[ -](?:system|hidden|secret|developer|internal)[ -](?:prompt|instructions)\b",
    rf"{_SAY} ~ \byour (?:initial|original|full|exact|complete|entire|first) (?:prompt|rules)\b",
    rf"{_SAY} ~ \byour (?:\w+ )?{_RULES} ~ {_EXACTLY}",
    rf"{_SAY} (?:everything|all(?: the)? text|the text) (?:\w+ ){{0,2}}?(?:above|before)\b ~ (?:{_EXACTLY}|to you\b)",
    r"\bwhat (?:were|was) (?:you|it) (?:told|instructed) ~ \b(?:conversation|chat|prompt|session)\b",
    rf"(?<!never )(?<!not )(?<!n't )(?:{_SAY}|{_ADD}) ~ (?:api[ _]keys?|access tokens?)\b ~ (?:caption|query|{_WORK})",
    r"\bdecode (?:this|it|the) ~ \b(?:follow|obey|execute|do (?:what|as) it says)\b",
    rf"\b(?:translate|put|use|{_SAY}) your (?:\w+ )?(?:instructions|prompt) ~ (?:alt text|caption|\bdek\b|{_WORK})",
    rf"{_SAY} ~ {_RULES} (?:that )?you (?:were|have been) (?:given|told)\b",
    # For its verdict.
    rf"{_BID}(?:rate|score|give|award|grade|mark)\b ~ (?:{_WORK}|\b(?:every|each|all) \w+) ~ {_TOP}",
    rf"{_BID}(?:give|award) ~ {_TOP} (?:to|for) (?:this|the) {_WORK}|\baward (?:it|this) an? \w+ score\b",
    r"\b(?:flagged|is[_ ]appropriate|is[_ ]safe)[\"']? ?(?:=|:|to|as) ?[\"']?(?:false|true)\b",
    r"\b(?:classify|mark|label|treat) ~ (?:text|story|article|content|draft) as (?:safe|appropriate|harmless|clean)\b",
    # For its work.
    rf"\byour (?:output|response|headline) {_MUST}",
    r"\b(?:write-?up|summary|retelling|article) (?:of|about|on) this ~ \b(?:mention|name|includ|link|prais|recommend)",
    r"\b(?:when|while|before|after|if) (?:you(?: are)? )?(?:summari[sz]|retell|rewrit|process)\w* this\b",
    rf"{_WORK} (?:that )?you (?:write|are writing|produce|generate) {_MUST}",
    rf"{_ADD}.{{0,80}}\b(?:in|into|to|of) your (?:final |finished )?{_WORK}(?= ?(?:$|[.!,:;\-\"']))",
    rf"\binstead of (?:a|the|this) {_WORK},? (?:\w+ )?(?:output|write|print)\b|\boutput only the (?:word|text)\b",
    # To a browser.
    r"<(?:script|iframe)\b|<!--|<\w[^>]{0,200}\bon\w{4,12} ?=|[\"'] on\w{4,12} ?= ?[\"']|javascript:|data:text/html",
)
"""In folded text; `` ~ `` stands for up to 50 characters of the same sentence."""

_FOREIGN = (
    ("ignorier|vergiss|missachte", "anweisung|instruktion|vorgaben|was dir (?:vorher|bisher|zuvor)"),
    ("ignor|oubli", "(?:instructions|consignes) (?:prec|ant)"),
    (
        "ignor|olvid|caso omiso|desconsider|esquec|dimentic",
        r"(?:instruccion|instruco|istruzion|orden)\w* (?:prev|prec|ant)",
    ),
    ("negeer|vergeet", "instructies|aanwijzingen"),
    ("zignoruj|ignoruj|zapomnij", "instrukcj|polece"),
    ("yok say|unut|gormezden", "talimat"),
    ("игнориру|забуд", "инструкц|указани"),
    ("忽略|无视|無視|忘记|忘れ", "指令|指示|命令|提示|プロンプト"),
    ("무시|잊어", "지시|명령|프롬프트"),
    ("تجاهل", "تعليمات"),
)
"""To ignore, and what: earlier instructions where the bare words have their like in English."""

_NEAR = r"[^.!?。]{0,50}"


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    # Tried one by one: as a single alternation they take six times as long.
    foreign = (rf"(?:{verb})\w*{_NEAR}(?:{noun})|(?:{noun})\w*{_NEAR}(?:{verb})" for verb, noun in _FOREIGN)
    return tuple(re.compile(pattern.replace(" ~ ", _NEAR)) for pattern in (*_ORDERS, *foreign))


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
    title = _for_people(thread.title) or (thread.title and (head(next(iter(sentences(body)), ""), 300) or "Untitled"))
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
    kept = [comment for comment in comments if not addresses_machine(comment.body)]
    for order in (kept, sorted(kept, key=lambda comment: comment.created_at)):
        split = {order[place].id for place in _split([comment.body for comment in order])}
        kept = [comment for comment in kept if comment.id not in split]
    return tuple(kept)


def _for_people(text: str) -> str:
    lines = text.split("\n")
    aimed = _aimed(lines)
    return "\n".join(_start(line) if place in aimed else line for place, line in enumerate(lines)).strip()


def _start(line: str) -> str:
    """What a line says to people before it turns to a machine; nothing where no single sentence of it does."""
    # A tag starts a sentence of its own here.
    told = sentences(line.replace("<", "\n\n<"))
    turn = next((place for place, sentence in enumerate(told) if _is_aimed(sentence)), 0)
    return " ".join(told[:turn])


def _aimed(lines: Sequence[str]) -> set[int]:
    """The places of the lines that talk to a machine, alone or together with the next."""
    alone = {place for place, line in enumerate(lines) if _is_aimed(line)}
    return alone | _split(["" if place in alone else line for place, line in enumerate(lines)])


def _split(texts: Sequence[str]) -> set[int]:
    """The places of texts that break off and talk to a machine only when they are read on into the next."""
    found: set[int] = set()
    for place in range(len(texts)):
        pieces = texts[place : place + _MAX_PIECES]
        ended = next((at for at, piece in enumerate(pieces, start=1) if not _breaks_off(piece)), len(pieces))
        read_on = " ".join((pieces[0][-_SEAM:], *(piece[:_SEAM] for piece in pieces[1:ended])))
        if ended > 1 and _is_aimed(read_on):
            found.update(range(place, place + ended))
    return found


def _breaks_off(text: str) -> bool:
    return bool(text) and (text[-1].isalnum() or text[-1] in ",-–—")


def _is_aimed(line: str) -> bool:
    return any(pattern.search(reading) for reading in _readings(line) for pattern in _patterns())


def _readings(line: str) -> Iterator[str]:
    """A line in lower case, as it stands and with what hides in it brought out."""
    plain = fold(line)
    yield plain
    joined = re.sub(r"(?<=\w)[._-](?=\w)", " ", re.sub(r"[*~`]+", "", line))
    unmasked = " ".join(_UNMASKER.unmask(joined).split())
    if unmasked != plain:
        yield unmasked
    for match in _ENCODED.findall(line):
        whole = match.rstrip("=")
        yield fold(base64.b64decode(whole[: len(whole) // 4 * 4]).decode("utf-8", "ignore"))

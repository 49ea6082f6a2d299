"""Which accounts and comments of Reddit's are programs'. People called Talbot are none."""

import re
from collections.abc import Mapping
from typing import Any

_NAMES = """
alternate-link-bot amputatorbot autotldr b0trank botdefense botrank decronym duplicatesbot fatfingerhelperbot
gfycat_details_fixer gifreversingbot hearing-echoes image_linker_bot imguralbumbot limbretrieval-bot linkifybot
mentioned_videos modcodeofconduct of-patrol-bot profanitycounter redditsilverrobot remindmebot repostsleuthbot
savevideo savevideobot sneakpeekbot snapshillbot the-paranoid-android timestamp_bot totesmessenger tweetposter
twitterlinkbot updatemebot userleansbot uwutranslator video_descriptionbot vredditdownloader vreddit_bot
wikisummarizerbot wikitextbot good_goodbot goodbot_badbot commonmisspellingbot boocmb magic_eye_bot locationbot
"""
_KNOWN = frozenset(_NAMES.split())
_OFFICIAL = re.compile(r"auto[-_]?mod(?:erator)?[-_\d]*|.*-?modteam", re.IGNORECASE)
_ENDS_IN_BOT = re.compile(r"b[o0]t[-_]*(?:v?\d+)?[-_]*$", re.IGNORECASE)
_PEOPLE = re.compile(
    r"(?:(?:tal|ab|ca|ro)|(?:^|[-_\d]|(?-i:(?<=[a-z])(?=[A-Z])))(?:cha|ri|tur|sa|bar|ra|her|gui|lam|thi|cor|har|mar|du))"
    r"bot[-_]*(?:v?\d+)?[-_]*$",
    re.IGNORECASE,
)
"""Surnames and words; a robot may be anybody's nickname."""

_SAYS_SO = re.compile(
    r"""(?:^|[.!?,;:()\[\]|—–-]\s*|\bboop\W+|\bbloop\W+|\b(?:hi|hello|hey)\W+)
        i(?:['’]?m|\ am)\ (?:just\ |only\ |also\ |actually\ |but\ )?an?\ (?:[\w-]+\ ){0,3}?
        (?:ro)?bot\b(?:\ account)?(?=\W*$|\ ?[.,;:!|()\[\]—–-]|\ (?:and|that|which|who|made|created|built|written|run
          |operated|here|beep|bleep|designed|programmed|by|for|from|trying)\b)
      | \b(?:ich\ bin\ ein|soy\ un|je\ suis\ un|sono\ un|(?:eu\ )?sou\ um|ik\ ben\ een)\ (?:ro)?bot\b
      | \bthis\ (?:action|message|comment|reply|post)\ (?:was|is|has\ been)\ (?:performed|posted|generated|made|sent
          |created|written)\ (?:automatically|by\ an?\ (?:[\w-]+\ ){0,2}bot)\b
      | \bthis\ is\ an\ automated\ (?:message|comment|reply|response|action|reminder)\b
      | \bbeep\W{0,3}boop\b | \bbleep\W{0,3}bloop\b | \bi\ will\ be\ messaging\ you\ (?:in|on)\b
      | \bthis\ thread\ has\ been\ linked\ to\ from\b | \bhere['’]?s\ a\ sneak\ peek\ of\b
      | \bcontact\ the\ moderators\ of\ this\ subreddit\b""",
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_MARKS = re.compile(r"[\^*_~\\>#]+")


def is_automated(comment: Mapping[str, Any], text: str) -> bool:
    """Whether a comment, whose ``text`` it is, is a bot's, or an official or pinned note."""
    official = comment.get("distinguished") in ("moderator", "admin") or comment.get("stickied") is True
    return official or is_bots_name(str(comment.get("author") or "")) or says_it_is_a_bot(text)


def is_bots_name(name: str) -> bool:
    """Whether an account is a program's by its name: a known one, or one that ends in "bot" and is no surname."""
    name = name.strip()
    if name.lower() in _KNOWN or _OFFICIAL.fullmatch(name):
        return True
    return bool(_ENDS_IN_BOT.search(name)) and not _PEOPLE.search(name)


def says_it_is_a_bot(text: str) -> bool:
    """Whether a comment calls itself a program's, in any of the usual phrases and small print."""
    return bool(_SAYS_SO.search(_MARKS.sub("", text)))

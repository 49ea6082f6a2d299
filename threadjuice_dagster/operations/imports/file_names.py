"""Names of files in a folder or bucket that others put story files into: which of them are none, or not yet."""

_BEGINNINGS = (".", "_", "~", "#")
_ENDINGS = (
    *(".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".opdownload", ".filepart", ".aria2"),
    *(".upload", ".uploading", ".incomplete", ".!ut", ".!qb", ".swp", ".swo", ".swx", ".lock", "~", "#"),
    *(".rejects.jsonl", ".kept-back.jsonl", "thumbs.db", "desktop.ini"),
)


def is_unfinished(key: str) -> bool:
    """Whether a file or a folder above it is hidden, another program's own, or still being written by its name.

    Such are ``.~lock.x.csv#`` and ``~$x.csv`` of an office program, ``x.csv.crdownload`` of a browser, ``_drafts/``.
    """
    return any(part.startswith(_BEGINNINGS) for part in key.split("/")) or key.lower().endswith(_ENDINGS)

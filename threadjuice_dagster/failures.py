"""The kinds of failure. Every resource raises one of these; nothing else decides on a retry."""


class ThreadJuiceError(Exception):
    """An error an operator can act on: one line of message, one line of what to do next."""

    kind = "error"

    def __init__(self, message: str, next_step: str = "") -> None:
        self.message = _line(message)
        self.next_step = _line(next_step)
        super().__init__(f"{self.message} {self.next_step}".strip())

    @property
    def record(self) -> dict[str, str]:
        """The error as it is stored with a story and printed as JSON."""
        return {"kind": self.kind, "message": self.message, "next_step": self.next_step}


def _line(text: str) -> str:
    """One line that any database, terminal and JSON reader takes, whatever was cited in it and however long."""
    return " ".join(text[:4000].replace("\0", " ").encode(errors="replace").decode().split())


class TransientFailure(ThreadJuiceError):
    """It may work later: an outage, a limit, a time-out. ``retry_after`` is in seconds, if told.

    ``exhausted`` says the caller's own bounded retries are used up, so the step is not retried again; ``service``
    names an outside service that is down as a whole, whoever asks it for whatever.
    """

    kind = "transient"

    def __init__(
        self,
        message: str,
        next_step: str = "",
        *,
        retry_after: float | None = None,
        exhausted: bool = False,
        service: str = "",
    ) -> None:
        super().__init__(message, next_step)
        self.retry_after = retry_after
        self.exhausted = exhausted
        self.service = service


class PermanentFailure(ThreadJuiceError):
    """It will not work however often it is tried: a bad key, a missing thing, refused content."""

    kind = "permanent"


class Unsuitable(PermanentFailure):
    """The thread or the answer cannot become a story: an editorial outcome, made up for with another thread."""

    kind = "unsuitable"


class UnexpectedFailure(PermanentFailure):
    """Nobody foresaw this: the run's log has the traceback."""

    kind = "unexpected"


class ConfigurationError(PermanentFailure):
    """A setting is wrong or missing; the message names the variable and gives an example."""

    kind = "configuration"


class UsageError(PermanentFailure):
    """The request cannot be met as asked, such as an unknown category; the known ones are listed."""

    kind = "usage"


class BudgetSpent(ThreadJuiceError):
    """The day's budget does not allow another request: stories wait for the next day, or for a higher budget."""

    kind = "waiting"

    def __init__(self, message: str) -> None:
        super().__init__(
            message, "Wait for the next day (UTC), or raise DAILY_BUDGET_USD; then run: threadjuice content generate"
        )


class Interrupted(ThreadJuiceError):
    """Somebody stopped the work, or its process died: nothing is wrong with it, and the next order takes it up."""

    kind = "interrupted"

    def __init__(self) -> None:
        super().__init__(
            "The work was stopped before its end.", "Run it again: threadjuice content generate, or the same command."
        )

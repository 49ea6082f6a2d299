"""What an S3 server's refusals mean. Reading and writing a bucket belongs in ``resources/storage.py``."""

from typing import Any

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, ThreadJuiceError, TransientFailure

GONE = {"404", "NoSuchKey", "NotFound"}
"""Codes for an object that is not there."""

_PASSING = {"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestLimitExceeded", "InternalError"}


def code_of(error: Any) -> str:
    """The code in a ``ClientError`` of botocore."""
    return str(error.response.get("Error", {}).get("Code", ""))


def refusal(error: Any, place: str, bucket: str) -> ThreadJuiceError:
    """What the server's refusal means, as one of the two kinds."""
    code, status = code_of(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return ConfigurationError(f"There is no bucket {bucket}.", "Create it, or correct the bucket's name.")
    if code in GONE:
        return PermanentFailure(f"{place} does not exist.", "Materialize what makes it again.")
    if status >= 500 or status == 429 or code in _PASSING:
        return TransientFailure(f"Storage answered {code} for {place}.", "Try again later.", exhausted=True)
    next_step = "Check the AWS_* credentials and what they may do in this bucket."
    return PermanentFailure(f"Storage refused {place}: {code}.", next_step)

"""The rows of an environment report on variables: which are set, which are wrong, and what is used instead.

A secret's value is in no row, nor is a login in an address.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr

from threadjuice_dagster.operations.environment.rules import Probe
from threadjuice_dagster.operations.findings import Finding, finding
from threadjuice_dagster.settings import CORRECT_IT, Settings, SettingsSection

WANTED = ("DATABASE_URL", "OPENAI_API_KEY", "CDN_BUCKET", "BACKUP_BUCKET", "VERCEL_TOKEN", "MONITORING_WEBHOOK")
"""Variables without which something of our own does the job, which production is warned of."""

OPTIONAL = ("THREAD_SOURCES", "STACK_EXCHANGE_KEY", "REDDIT_CLIENT_ID", "UNSPLASH_ACCESS_KEY", "INBOX_BUCKET")
"""The same, and good enough anywhere."""

TOGETHER = {"REDDIT_CLIENT_SECRET": "REDDIT_CLIENT_ID", "VERCEL_PROJECT_ID": "VERCEL_TOKEN"}
"""What a variable is of no use without."""

_LOGIN = re.compile(r"//[^/@]*@")


def variable_rows(settings: Settings, problems: Mapping[str, str]) -> Iterator[Probe]:
    """A row for each variable. A secret's value is in none, nor is a login in an address."""
    sections: tuple[SettingsSection, ...] = (settings.database, settings.content, settings.deployment)
    fields = [(one, name, field) for one in sections for name, field in type(one).model_fields.items()]
    given = {str(field.alias) for section, name, field in fields if name in section.model_fields_set}
    production = settings.deployment.environment == "production"
    for section, name, field in fields:
        alias, shown = str(field.alias), _shown(getattr(section, name))
        if alias in problems:
            answer = finding("failed", problems[alias], CORRECT_IT)
        elif alias in given:
            answer = finding("ok", shown)
        elif TOGETHER.get(alias) in given or (production and alias == "PRODUCTION_URL"):
            example = field.examples[0] if field.examples else ""
            answer = finding("failed", f"Not set. {field.description}", f"Set it, as in {alias}={example}.")
        else:
            answer = _instead(alias, shown, str(field.description), production)
        yield Probe.of(answer, alias, "variable")


def _instead(alias: str, default: str, description: str, production: bool) -> Finding:
    """What is used where a variable is not set: its default, a stand-in as its description tells, or nothing."""
    told = default or description.rstrip(".").partition("; empty ")[2].partition(";")[0] or "not needed"
    if production and alias in (*WANTED, "BACKUP_ENCRYPTION_KEY"):
        return finding("warning", f"Not set: {told}.", f"Set {alias}.")
    return finding("stand-in" if alias in WANTED + OPTIONAL else "ok", f"Not set: {told}.")


def _shown(value: Any) -> str:
    """A setting as it may be shown."""
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else ""
    text = ",".join(value) if isinstance(value, list) else "" if value is None else str(value)
    return _LOGIN.sub("//", text)[:120]

"""Read every setting from the environment, typed and validated, in three sections: database, content, deployment.

A setting is one field here; ``env.example`` has its description and its example. Nothing else reads the environment.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from threadjuice_dagster.database.addresses import clean_address
from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.operations.alerts.webhook_forms import Format
from threadjuice_dagster.operations.backups.rules import parse_retention
from threadjuice_dagster.operations.cleanup.rules import TEST_PREFIXES, checked_prefixes


def _is_url(*schemes: str) -> AfterValidator:
    def check(value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text and (urlsplit(text).scheme.partition("+")[0] not in schemes or len(text.split()) != 1):
            raise ValueError(f"should be an address that starts with {' or '.join(f'{s}://' for s in schemes)}")
        return value

    return AfterValidator(check)


def _is_postgres(value: SecretStr) -> SecretStr:
    return SecretStr(clean_address(value.get_secret_value())) if value.get_secret_value() else value


def _is_timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not a time zone of the IANA database") from None
    return value


def _is_retention(value: str) -> str:
    try:
        parse_retention(value)
    except ConfigurationError:
        raise ValueError("should be days, weeks and months") from None
    return value


def _is_identity(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"(AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58})?", value.get_secret_value(), re.IGNORECASE):
        raise ValueError(
            "should be an age identity: make one by `threadjuice database new-key`, or by"
            " `threadjuice database new-key --from-passphrase` for the passphrase of an earlier version"
        )
    return value


def _is_prefixes(values: list[str]) -> list[str]:
    try:
        return [] if values == ["off"] else checked_prefixes(values)
    except ConfigurationError:
        raise ValueError("should be beginnings of four characters or more, separated by commas, or off") from None


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _is_spec(values: list[str]) -> list[str]:
    if not all(
        re.fullmatch(r"samples|(?:stackexchange|hackernews|lemmy|discourse|reddit):\S+", value) for value in values
    ):
        raise ValueError("should be places such as stackexchange:workplace or samples, separated by commas")
    return values


def _is_origin(values: list[str]) -> list[str]:
    for value in values:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
            raise ValueError("should be origins of the form scheme://host:port, separated by commas")
    return [value.rstrip("/").lower() for value in values]


def _is_category_map(values: list[str]) -> list[str]:
    if any(not part.strip() for value in values for part in value.rpartition("=")[::2]):
        raise ValueError("should be pairs of the form NAME=CATEGORY, separated by commas")
    return values


def _is_code_url(value: str) -> str:
    repository, _, branch = value.partition("/tree/")
    if value and not (repository.startswith("https://") and branch):
        raise ValueError(
            "should be the address of a branch at GitHub or GitLab, such as https://github.com/a/b/tree/main"
        )
    return value.rstrip("/")


Url = Annotated[str, _is_url("http", "https")]
CodeUrl = Annotated[str, AfterValidator(_is_code_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_is_postgres)]
Names = Annotated[list[str], BeforeValidator(_split)]
ProviderName = Literal["openverse", "unsplash", "title_card"]


def _documented() -> dict[str, tuple[str, str]]:
    """Return the description and the example of each variable from ``env.example``."""
    text = (Path(__file__).parent / "env.example").read_text()
    blocks = [block.splitlines() for block in text.split("\n\n") if not block.startswith("##")][1:]
    return {
        name: (" ".join(line.removeprefix("# ") for line in comments), example)
        for *comments, last in blocks
        for name, _, example in [last.removeprefix("# ").partition("=")]
    }


DOCUMENTED = _documented()


def variable(name: str, default: Any, **bounds: Any) -> Any:
    """Return a field that is read from the environment variable ``name``."""
    description, example = DOCUMENTED[name]
    return Field(default, alias=name, description=description, examples=[example], validate_default=True, **bounds)


class SettingsSection(BaseModel):
    """A group of settings. It is frozen, so all parts of a process see the same values."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class DatabaseSettings(SettingsSection):
    """The databases, and the folder of local state."""

    home: Path = variable("THREADJUICE_HOME", Path(".threadjuice"))
    url: PostgresUrl = variable("DATABASE_URL", SecretStr(""))
    pool_size: int | None = variable("DATABASE_POOL_SIZE", None, ge=1, le=500)
    replica_url: PostgresUrl = variable("DATABASE_REPLICA_URL", SecretStr(""))
    max_connections: int = variable("DATABASE_MAX_CONNECTIONS", 60, ge=6, le=100_000)
    slow_query_seconds: float = variable("SLOW_QUERY_SECONDS", 5.0, gt=0, le=86_400)
    statement_seconds: float = variable("DATABASE_STATEMENT_TIMEOUT_SECONDS", 60.0, gt=0, le=86_400)
    dagster_url: PostgresUrl = variable("DAGSTER_DATABASE_URL", SecretStr(""))


class ContentSettings(SettingsSection):
    """The sources of threads, the models that write and judge, and the pictures."""

    daily_story_count: int = variable("DAILY_STORY_COUNT", 3, ge=1, le=1000)
    openai_api_key: SecretStr = variable("OPENAI_API_KEY", SecretStr(""))
    openai_api_key_next: SecretStr = variable("OPENAI_API_KEY_NEXT", SecretStr(""))
    openai_base_url: Url = variable("OPENAI_BASE_URL", "")
    openai_model: str = variable("OPENAI_MODEL", "gpt-4o", min_length=1)
    openai_judge_model: str = variable("OPENAI_JUDGE_MODEL", "")
    openai_timeout: float = variable("OPENAI_TIMEOUT_SECONDS", 60.0, gt=0, le=600)
    openai_price_input: float | None = variable("OPENAI_PRICE_INPUT", None, ge=0)
    openai_price_output: float | None = variable("OPENAI_PRICE_OUTPUT", None, ge=0)
    rate_limit: int = variable("CONTENT_GENERATION_RATE_LIMIT", 10, ge=1, le=100_000)
    daily_budget_usd: float = variable("DAILY_BUDGET_USD", 0.0, ge=0, le=1_000_000)
    rejection_alert_share: float = variable("REJECTION_ALERT_SHARE", 0.5, ge=0, le=1)
    writer_fallback: Literal["", "extractive"] = variable("WRITER_FALLBACK", "")
    thread_sources: Annotated[Names, AfterValidator(_is_spec)] = variable("THREAD_SOURCES", [])
    stack_exchange_key: SecretStr = variable("STACK_EXCHANGE_KEY", SecretStr(""))
    stack_exchange_url: Url = variable("STACK_EXCHANGE_API_URL", "https://api.stackexchange.com")
    hacker_news_url: Url = variable("HACKER_NEWS_API_URL", "https://hacker-news.firebaseio.com")
    hacker_news_search_url: Url = variable("HACKER_NEWS_SEARCH_URL", "https://hn.algolia.com")
    reddit_client_id: SecretStr = variable("REDDIT_CLIENT_ID", SecretStr(""))
    reddit_client_secret: SecretStr = variable("REDDIT_CLIENT_SECRET", SecretStr(""))
    reddit_user_agent: str = variable("REDDIT_USER_AGENT", "python:threadjuice:1.0 (by /u/threadjuice)", min_length=1)
    reddit_subreddits: Names = variable("REDDIT_SUBREDDITS", [])
    reddit_url: Url = variable("praw_reddit_url", "")
    oauth_url: Url = variable("praw_oauth_url", "")
    inbox_bucket: str = variable("INBOX_BUCKET", "")
    import_category_map: Annotated[Names, AfterValidator(_is_category_map)] = variable("IMPORT_CATEGORY_MAP", [])
    import_default_category: str = variable("IMPORT_DEFAULT_CATEGORY", "")
    inbox_prefix: str = variable("INBOX_PREFIX", "")
    thread_retention_hours: float = variable("THREAD_RETENTION_HOURS", 48.0, ge=0, le=8760)
    image_providers: Annotated[list[ProviderName], BeforeValidator(_split)] = variable("IMAGE_PROVIDERS", [])
    image_quality: int = variable("IMAGE_OPTIMIZATION_QUALITY", 85, ge=30, le=100)
    image_allowed_origins: Annotated[Names, AfterValidator(_is_origin)] = variable("IMAGE_ALLOWED_ORIGINS", [])
    unsplash_access_key: SecretStr = variable("UNSPLASH_ACCESS_KEY", SecretStr(""))
    unsplash_unattended: bool = variable("UNSPLASH_UNATTENDED", False)
    unsplash_api_url: Url = variable("UNSPLASH_API_URL", "https://api.unsplash.com")
    openverse_api_url: Url = variable("OPENVERSE_API_URL", "https://api.openverse.org")


class DeploymentSettings(SettingsSection):
    """The environment, the site and its addresses, backups, clean-up and alerts."""

    environment: Literal["local", "staging", "production"] = variable("THREADJUICE_ENV", "local")
    timezone: Annotated[str, AfterValidator(_is_timezone)] = variable("THREADJUICE_TIMEZONE", "UTC")
    production_url: Url = variable("PRODUCTION_URL", "")
    preview_port: int = variable("THREADJUICE_PREVIEW_PORT", 3001, ge=0, le=65535)
    production_port: int = variable("THREADJUICE_PRODUCTION_PORT", 3002, ge=0, le=65535)
    image_cdn_url: Url = variable("IMAGE_CDN_URL", "")
    cdn_bucket: str = variable("CDN_BUCKET", "")
    backup_bucket: str = variable("BACKUP_BUCKET", "")
    backup_encryption_key: Annotated[SecretStr, AfterValidator(_is_identity)] = variable(
        "BACKUP_ENCRYPTION_KEY", SecretStr("")
    )
    backup_retention: Annotated[str, AfterValidator(_is_retention)] = variable("BACKUP_RETENTION", "7d4w12m")
    cleanup_rejected_days: int = variable("CLEANUP_REJECTED_DAYS", 30, ge=1, le=36500)
    cleanup_withdrawn_days: int = variable("CLEANUP_WITHDRAWN_DAYS", 90, ge=1, le=36500)
    cleanup_events_days: int = variable("CLEANUP_EVENTS_DAYS", 180, ge=1, le=36500)
    cleanup_archive_days: int = variable("CLEANUP_ARCHIVE_DAYS", 90, ge=1, le=36500)
    cleanup_test_prefixes: Annotated[Names, AfterValidator(_is_prefixes)] = variable(
        "CLEANUP_TEST_PREFIXES", list(TEST_PREFIXES)
    )
    cleanup_max_share: float = variable("CLEANUP_MAX_SHARE", 0.2, ge=0, le=1)
    run_retention_days: int = variable("RUN_RETENTION_DAYS", 90, ge=1, le=36500)
    vercel_token: SecretStr = variable("VERCEL_TOKEN", SecretStr(""))
    vercel_project_id: str = variable("VERCEL_PROJECT_ID", "")
    vercel_team_id: str = variable("VERCEL_TEAM_ID", "")
    vercel_bypass: SecretStr = variable("VERCEL_AUTOMATION_BYPASS_SECRET", SecretStr(""))
    vercel_protection_bypass: SecretStr = variable("VERCEL_PROTECTION_BYPASS", SecretStr(""))
    auto_deploy: bool = variable("AUTO_DEPLOY", False)
    vercel_api_url: Url = variable("VERCEL_API_URL", "https://api.vercel.com")
    monitoring_webhook: Annotated[SecretStr, _is_url("http", "https")] = variable("MONITORING_WEBHOOK", SecretStr(""))
    webhook_secret: SecretStr = variable("MONITORING_WEBHOOK_SECRET", SecretStr(""))
    webhook_format: Literal["", Format] = variable("MONITORING_WEBHOOK_FORMAT", "")
    ui_url: Url = variable("DAGSTER_UI_URL", "http://127.0.0.1:3000")
    code_url: CodeUrl = variable("CODE_URL", "")
    ui_password: SecretStr = variable("THREADJUICE_UI_PASSWORD", SecretStr(""))
    runbook_url: str = variable("RUNBOOK_URL", "docs/EMERGENCY.md", min_length=1)
    long_run_minutes: float = variable("LONG_RUN_MINUTES", 60.0, gt=0, le=10_080)
    key_max_age_days: int = variable("KEY_MAX_AGE_DAYS", 180, ge=1, le=3650)


class Settings(BaseModel):
    """All settings of one process."""

    model_config = ConfigDict(frozen=True)

    database: DatabaseSettings
    content: ContentSettings
    deployment: DeploymentSettings

    @property
    def home(self) -> Path:
        """Return the absolute folder of local state."""
        return self.database.home.expanduser().resolve()

    @property
    def keys(self) -> dict[str, str]:
        """Return the secrets that expire, by variable; the addresses that hold a password are not among them."""
        secrets = {
            field.alias or name: getattr(section, name).get_secret_value()
            for section in (self.content, self.deployment)
            for name, field in type(section).model_fields.items()
            if field.annotation is SecretStr
        }
        return {name: secret for name, secret in secrets.items() if secret}

    @property
    def image_providers(self) -> list[str]:
        """Return the picture providers in order; the default depends on the environment."""
        if self.content.image_providers:
            return list(self.content.image_providers)
        return ["title_card"] if self.deployment.environment == "local" else ["openverse", "unsplash", "title_card"]

    @property
    def _thread_sources(self) -> str:
        """Return which threads are read, in words."""
        if self.content.thread_sources:
            return ", ".join(self.content.thread_sources)
        if self.content.reddit_client_id.get_secret_value() and self.deployment.environment == "local":
            return "Reddit"
        return "sample threads" if self.deployment.environment == "local" else "places of the categories"

    @property
    def stand_ins(self) -> dict[str, str]:
        """Return the name of the part that serves each need, as the start of ``threadjuice dev`` and the UI show it."""
        content, deployment = self.content, self.deployment
        return {
            "database": "DATABASE_URL" if self.database.url.get_secret_value() else "embedded PostgreSQL",
            "writer": f"OpenAI ({content.openai_model})" if content.openai_api_key.get_secret_value() else "extractive",
            "threads": self._thread_sources,
            "pictures": ", ".join(self.image_providers),
            "deployment": f"Vercel {deployment.vercel_project_id}"
            if deployment.vercel_token.get_secret_value()
            else "folder",
            "cdn": f"bucket {deployment.cdn_bucket}" if deployment.cdn_bucket else "folder",
        }


SECTIONS: tuple[type[SettingsSection], ...] = (DatabaseSettings, ContentSettings, DeploymentSettings)

CORRECT_IT = "Correct it in the environment or in .env."


def variables() -> dict[str, FieldInfo]:
    """Return every variable that the product reads, by its name in the environment."""
    return {field.alias or name: field for section in SECTIONS for name, field in section.model_fields.items()}


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and validate all settings. An empty variable counts as unset. Raises ``ConfigurationError``."""
    settings, problems = read_settings(environ)
    if problems:
        raise ConfigurationError(" ".join(problems.values()), CORRECT_IT)
    return settings


def read_settings(environ: Mapping[str, str] | None = None) -> tuple[Settings, dict[str, str]]:
    """Return all settings, an invalid one at its default, and the problem of each invalid variable by name."""
    source = os.environ if environ is None else environ
    given = {name: source[name].strip() for name in variables() if source.get(name, "").strip()}
    problems: dict[str, str] = {}
    loaded: list[SettingsSection] = []
    for section in SECTIONS:
        try:
            loaded.append(section.model_validate(given))
        except ValidationError as error:
            problems |= {
                str(item["loc"][0]): _problem(str(item["loc"][0]), item["msg"], given) for item in error.errors()
            }
            loaded.append(section.model_validate({name: text for name, text in given.items() if name not in problems}))
    return Settings(database=loaded[0], content=loaded[1], deployment=loaded[2]), problems  # type: ignore[arg-type]


def _problem(name: str, message: str, given: Mapping[str, str]) -> str:
    secret = "SecretStr" in str(variables()[name].annotation)
    value = "" if secret else f" (it is {given.get(name, '')[:60]!r})"
    problem = message.removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    return f"{name} {problem}{value}; example: {name}={DOCUMENTED[name][1]}."

"""Every setting, typed and validated once, in the three sections of the house: database, content, deployment.

A setting is one field: its alias is the environment variable, its description and example are what
``.env.example`` and error messages show. Nothing else in the package reads the environment.
"""

import os
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


def _is_prefixes(values: list[str]) -> list[str]:
    try:
        return [] if values == ["off"] else checked_prefixes(values)
    except ConfigurationError:
        raise ValueError("should be beginnings of four characters or more, separated by commas, or off") from None


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _is_origin(values: list[str]) -> list[str]:
    for value in values:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
            raise ValueError("should be origins of the form scheme://host:port, separated by commas")
    return [value.rstrip("/").lower() for value in values]


def _is_category_map(values: list[str]) -> list[str]:
    if any(
        not name.strip() or not category.strip() for name, _, category in (value.rpartition("=") for value in values)
    ):
        raise ValueError("should be pairs of the form NAME=CATEGORY, separated by commas")
    return values


Url = Annotated[str, _is_url("http", "https")]
PostgresUrl = Annotated[SecretStr, AfterValidator(_is_postgres)]
Names = Annotated[list[str], BeforeValidator(_split)]
ProviderName = Literal["openverse", "unsplash", "title_card"]


def variable(name: str, default: Any, description: str, example: str, **bounds: Any) -> Any:
    """A field read from the environment variable ``name``; ``example`` must itself be valid."""
    return Field(default, alias=name, description=description, examples=[example], validate_default=True, **bounds)


class Section(BaseModel):
    """A group of settings; frozen, so that a value seen once stays true for the process."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class DatabaseSettings(Section):
    """Where the newsroom's and Dagster's tables live, and where local state is kept."""

    home: Path = variable(
        "THREADJUICE_HOME",
        Path(".threadjuice"),
        "Folder for all local state: embedded server, Dagster home, files, site.",
        ".threadjuice",
    )
    url: PostgresUrl = variable(
        "DATABASE_URL",
        SecretStr(""),
        "PostgreSQL for the newsroom's tables; empty starts the embedded server.",
        "postgresql://threadjuice:password@localhost:5432/threadjuice",
    )
    pool_size: int | None = variable(
        "DATABASE_POOL_SIZE",
        None,
        "Connections one process may hold at most, if few others are there; empty is 4. All together are bounded by"
        " DATABASE_MAX_CONNECTIONS.",
        "20",
        ge=1,
        le=500,
    )
    replica_url: PostgresUrl = variable(
        "DATABASE_REPLICA_URL",
        SecretStr(""),
        "PostgreSQL replica that reports and figures are read from; empty reads from DATABASE_URL.",
        "postgresql://threadjuice:password@replica:5432/threadjuice",
    )
    max_connections: int = variable(
        "DATABASE_MAX_CONNECTIONS",
        60,
        "Connections all processes together may hold to the newsroom's tables; a process that finds no room waits.",
        "60",
        ge=6,
        le=100_000,
    )
    slow_query_seconds: float = variable(
        "SLOW_QUERY_SECONDS",
        5.0,
        "Seconds a database statement may take, on average or now, before database_health warns of it.",
        "5",
        gt=0,
        le=86_400,
    )
    statement_seconds: float = variable(
        "DATABASE_STATEMENT_TIMEOUT_SECONDS",
        60.0,
        "Seconds an ordinary query may take; imports, validation, migrations and backups have no limit.",
        "60",
        gt=0,
        le=86_400,
    )
    dagster_url: PostgresUrl = variable(
        "DAGSTER_DATABASE_URL",
        SecretStr(""),
        "PostgreSQL for Dagster's own storage; empty uses a second database on DATABASE_URL's server.",
        "postgresql://threadjuice:password@localhost:5432/dagster",
    )


class ContentSettings(Section):
    """Where threads come from, who writes and judges, and how pictures are found and encoded."""

    daily_story_count: int = variable(
        "DAILY_STORY_COUNT", 3, "Stories the daily schedule publishes.", "3", ge=1, le=1000
    )
    openai_api_key: SecretStr = variable(
        "OPENAI_API_KEY", SecretStr(""), "Key of the model's API; empty uses the extractive writer.", "sk-..."
    )
    openai_api_key_next: SecretStr = variable(
        "OPENAI_API_KEY_NEXT",
        SecretStr(""),
        "The key to come: it is used as soon as OPENAI_API_KEY is refused, and somebody is told.",
        "sk-...",
    )
    openai_base_url: Url = variable(
        "OPENAI_BASE_URL", "", "Any OpenAI-compatible server; empty is OpenAI itself.", "https://api.openai.com/v1"
    )
    openai_model: str = variable("OPENAI_MODEL", "gpt-4o", "Model that writes.", "gpt-4o", min_length=1)
    openai_judge_model: str = variable(
        "OPENAI_JUDGE_MODEL", "", "Model that judges; empty is OPENAI_MODEL.", "gpt-4o-mini"
    )
    openai_timeout: float = variable(
        "OPENAI_TIMEOUT_SECONDS", 60.0, "Seconds one request to the model may take.", "60", gt=0, le=600
    )
    openai_price_input: float | None = variable(
        "OPENAI_PRICE_INPUT",
        None,
        "US dollars per million input tokens; empty looks the model up in the list.",
        "2.5",
        ge=0,
    )
    openai_price_output: float | None = variable(
        "OPENAI_PRICE_OUTPUT", None, "US dollars per million output tokens; empty looks it up as well.", "10", ge=0
    )
    rate_limit: int = variable(
        "CONTENT_GENERATION_RATE_LIMIT",
        10,
        "Requests to the model in any 60 seconds, over all processes.",
        "10",
        ge=1,
        le=100_000,
    )
    daily_budget_usd: float = variable(
        "DAILY_BUDGET_USD",
        0.0,
        "US dollars a UTC day may cost in calls to the model; beyond it stories wait. 0 is no budget.",
        "5",
        ge=0,
        le=1_000_000,
    )
    rejection_alert_share: float = variable(
        "REJECTION_ALERT_SHARE",
        0.5,
        "Share of a day's stories, of four or more, that gates may keep back before somebody is told.",
        "0.5",
        ge=0,
        le=1,
    )
    writer_fallback: Literal["", "extractive"] = variable(
        "WRITER_FALLBACK", "", "Who writes when the model's API is down; empty waits for it.", "extractive"
    )
    reddit_client_id: SecretStr = variable(
        "REDDIT_CLIENT_ID", SecretStr(""), "Reddit app; empty uses the bundled sample threads.", "aB3dE5fG7hI9jK"
    )
    reddit_client_secret: SecretStr = variable("REDDIT_CLIENT_SECRET", SecretStr(""), "Reddit app's secret.", "s3cr3t")
    reddit_user_agent: str = variable(
        "REDDIT_USER_AGENT",
        "python:threadjuice:1.0 (by /u/threadjuice)",
        "How this newsroom names itself to Reddit.",
        "python:threadjuice:1.0 (by /u/yourname)",
        min_length=1,
    )
    reddit_subreddits: Names = variable(
        "REDDIT_SUBREDDITS", [], "Subreddits to read; empty reads those of the categories.", "cooking,travel"
    )
    reddit_url: Url = variable("praw_reddit_url", "", "Reddit's web address for PRAW.", "https://www.reddit.com")
    oauth_url: Url = variable("praw_oauth_url", "", "Reddit's API address for PRAW.", "https://oauth.reddit.com")
    inbox_bucket: str = variable(
        "INBOX_BUCKET", "", "S3 bucket whose files are imported; empty is the inbox folder.", "threadjuice-inbox"
    )
    import_category_map: Annotated[Names, AfterValidator(_is_category_map)] = variable(
        "IMPORT_CATEGORY_MAP",
        [],
        "Categories of ours for those of imported stories, as NAME=CATEGORY parted by commas.",
        "revenge=workplace,petty=neighbours",
    )
    import_default_category: str = variable(
        "IMPORT_DEFAULT_CATEGORY",
        "",
        "Category of imported stories whose own is unknown; empty refuses them.",
        "neighbours",
    )
    inbox_prefix: str = variable("INBOX_PREFIX", "", "Beginning of the keys that are imported.", "inbox")
    thread_retention_hours: float = variable(
        "THREAD_RETENTION_HOURS",
        48.0,
        "Hours the text of fetched threads is kept; ids, offsets and digests stay.",
        "48",
        ge=0,
        le=8760,
    )
    image_providers: Annotated[list[ProviderName], BeforeValidator(_split)] = variable(
        "IMAGE_PROVIDERS",
        [],
        "Where pictures come from, in order; empty is title_card locally, all three elsewhere.",
        "openverse,unsplash,title_card",
    )
    image_quality: int = variable(
        "IMAGE_OPTIMIZATION_QUALITY",
        85,
        "JPEG quality; AVIF and WebP are encoded to look the same.",
        "85",
        ge=30,
        le=100,
    )
    image_allowed_origins: Annotated[Names, AfterValidator(_is_origin)] = variable(
        "IMAGE_ALLOWED_ORIGINS",
        [],
        "Further origins pictures may come from; only these may be private or plain http.",
        "http://127.0.0.1:8080",
    )
    unsplash_access_key: SecretStr = variable(
        "UNSPLASH_ACCESS_KEY", SecretStr(""), "Unsplash app's access key; empty passes Unsplash over.", "abc123"
    )
    unsplash_unattended: bool = variable(
        "UNSPLASH_UNATTENDED", False, "Set to true once Unsplash has agreed to unattended selection.", "false"
    )
    unsplash_api_url: Url = variable(
        "UNSPLASH_API_URL", "https://api.unsplash.com", "Unsplash's API address.", "https://api.unsplash.com"
    )
    openverse_api_url: Url = variable(
        "OPENVERSE_API_URL", "https://api.openverse.org", "Openverse's API address.", "https://api.openverse.org"
    )


class DeploymentSettings(Section):
    """Which environment this is, where files are served from, and who is told of trouble."""

    environment: Literal["local", "staging", "production"] = variable(
        "THREADJUICE_ENV", "local", "local, staging or production.", "production"
    )
    timezone: Annotated[str, AfterValidator(_is_timezone)] = variable(
        "THREADJUICE_TIMEZONE", "UTC", "Time zone of the schedules.", "Europe/Berlin"
    )
    production_url: Url = variable(
        "PRODUCTION_URL", "", "Public address of the site, for canonical links and feeds.", "https://threadjuice.com"
    )
    preview_port: int = variable(
        "THREADJUICE_PREVIEW_PORT", 3001, "Port of the site preview of `threadjuice dev`.", "3001", ge=0, le=65535
    )
    production_port: int = variable(
        "THREADJUICE_PRODUCTION_PORT",
        3002,
        "Port where `threadjuice dev` serves what was deployed to the folder of this machine.",
        "3002",
        ge=0,
        le=65535,
    )
    image_cdn_url: Url = variable(
        "IMAGE_CDN_URL", "", "Public address under which pictures are served.", "https://img.threadjuice.com"
    )
    cdn_bucket: str = variable(
        "CDN_BUCKET", "", "S3 bucket for pictures; empty keeps them in a folder.", "threadjuice-img"
    )
    backup_bucket: str = variable(
        "BACKUP_BUCKET", "", "S3 bucket for backups; empty keeps them in a folder.", "threadjuice-backups"
    )
    backup_encryption_key: SecretStr = variable(
        "BACKUP_ENCRYPTION_KEY",
        SecretStr(""),
        "Key that backups are encrypted and signed with: an age identity or a passphrase of 16 characters; empty leaves"
        " them plain and unsigned.",
        "correct horse battery staple",
    )
    backup_retention: Annotated[str, AfterValidator(_is_retention)] = variable(
        "BACKUP_RETENTION", "7d4w12m", "Days, weeks and months that keep a backup each.", "7d4w12m"
    )
    cleanup_rejected_days: int = variable(
        "CLEANUP_REJECTED_DAYS", 30, "Days the drafts of rejected stories are kept.", "30", ge=1, le=36500
    )
    cleanup_withdrawn_days: int = variable(
        "CLEANUP_WITHDRAWN_DAYS",
        90,
        "Days a withdrawn story is kept, and can be published again.",
        "90",
        ge=1,
        le=36500,
    )
    cleanup_events_days: int = variable(
        "CLEANUP_EVENTS_DAYS", 180, "Days events, errors and alerts are kept.", "180", ge=1, le=36500
    )
    cleanup_archive_days: int = variable(
        "CLEANUP_ARCHIVE_DAYS",
        90,
        "Days what a clean-up removed is kept in the archive of the backups' storage.",
        "90",
        ge=1,
        le=36500,
    )
    cleanup_test_prefixes: Annotated[Names, AfterValidator(_is_prefixes)] = variable(
        "CLEANUP_TEST_PREFIXES",
        list(TEST_PREFIXES),
        "How the id, slug or title of test content begins, which a clean-up removes even where it is public; or off.",
        "[test],test-content-",
    )
    cleanup_max_share: float = variable(
        "CLEANUP_MAX_SHARE",
        0.2,
        "Share of all there are that one rule of a clean-up may remove without --force.",
        "0.2",
        ge=0,
        le=1,
    )
    run_retention_days: int = variable(
        "RUN_RETENTION_DAYS",
        90,
        "Days finished runs stay in Dagster; the newest of each asset and partition always stay.",
        "90",
        ge=1,
        le=36500,
    )
    vercel_token: SecretStr = variable(
        "VERCEL_TOKEN", SecretStr(""), "Vercel token; empty deploys to a folder.", "vcp_..."
    )
    vercel_project_id: str = variable("VERCEL_PROJECT_ID", "", "Vercel project of the site.", "prj_...")
    vercel_team_id: str = variable(
        "VERCEL_TEAM_ID", "", "Vercel team of the project; empty is the token's own account.", "team_..."
    )
    vercel_bypass: SecretStr = variable(
        "VERCEL_AUTOMATION_BYPASS_SECRET",
        SecretStr(""),
        "Secret that lets smoke tests past Vercel's deployment protection.",
        "a1b2c3d4e5f6",
    )
    vercel_protection_bypass: SecretStr = variable(
        "VERCEL_PROTECTION_BYPASS",
        SecretStr(""),
        "The same under its older name, read where the other is not set.",
        "a1b2c3d4e5f6",
    )
    auto_deploy: bool = variable(
        "AUTO_DEPLOY",
        False,
        "Whether publications and withdrawals are deployed as soon as the site is rebuilt.",
        "true",
    )
    vercel_api_url: Url = variable(
        "VERCEL_API_URL", "https://api.vercel.com", "Vercel's API address.", "https://api.vercel.com"
    )
    monitoring_webhook: Annotated[SecretStr, _is_url("http", "https")] = variable(
        "MONITORING_WEBHOOK",
        SecretStr(""),
        "Address alerts are sent to; empty keeps them in log and database.",
        "https://hooks.slack.com/services/...",
    )
    webhook_secret: SecretStr = variable(
        "MONITORING_WEBHOOK_SECRET",
        SecretStr(""),
        "Secret alerts are signed with, as the Standard Webhooks specification says; empty leaves them unsigned.",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    webhook_format: Literal["", Format] = variable(
        "MONITORING_WEBHOOK_FORMAT", "", "Form of alerts; empty goes by the webhook's address.", "slack"
    )
    ui_url: Url = variable(
        "DAGSTER_UI_URL",
        "http://127.0.0.1:3000",
        "Address of the Dagster UI, for links in alerts.",
        "https://dagster.example.org",
    )
    ui_password: SecretStr = variable(
        "THREADJUICE_UI_PASSWORD",
        SecretStr(""),
        "Password of the Dagster UI, for any user name; needed where others than this machine can reach it.",
        "correct horse battery staple",
    )
    runbook_url: str = variable(
        "RUNBOOK_URL",
        "docs/EMERGENCY.md",
        "Address or path of the runbook that alerts point to.",
        "https://wiki.example.org/threadjuice/emergency",
        min_length=1,
    )
    long_run_minutes: float = variable(
        "LONG_RUN_MINUTES", 60.0, "Minutes after which a run that has not ended is told of.", "60", gt=0, le=10_080
    )
    key_max_age_days: int = variable(
        "KEY_MAX_AGE_DAYS", 180, "Days after which a key counts as due to be replaced.", "180", ge=1, le=3650
    )


class Settings(BaseModel):
    """All settings of one process."""

    model_config = ConfigDict(frozen=True)

    database: DatabaseSettings
    content: ContentSettings
    deployment: DeploymentSettings

    @property
    def home(self) -> Path:
        """The absolute folder of local state."""
        return self.database.home.expanduser().resolve()

    @property
    def keys(self) -> dict[str, str]:
        """The secrets that are to be replaced now and then, by variable; not the addresses that hold a password."""
        held = {
            field.alias or name: getattr(section, name)
            for section in (self.content, self.deployment)
            for name, field in type(section).model_fields.items()
            if field.annotation is SecretStr
        }
        return {name: secret.get_secret_value() for name, secret in held.items() if secret.get_secret_value()}

    @property
    def image_providers(self) -> list[str]:
        """Picture providers in order, with the environment's default where none is set."""
        if self.content.image_providers:
            return list(self.content.image_providers)
        return ["title_card"] if self.deployment.environment == "local" else ["openverse", "unsplash", "title_card"]

    @property
    def stand_ins(self) -> dict[str, str]:
        """Which part does each job: need → name, as printed at start and shown in the UI."""
        content, deployment = self.content, self.deployment
        return {
            "database": "DATABASE_URL" if self.database.url.get_secret_value() else "embedded PostgreSQL",
            "writer": f"OpenAI ({content.openai_model})" if content.openai_api_key.get_secret_value() else "extractive",
            "threads": "Reddit" if content.reddit_client_id.get_secret_value() else "sample threads",
            "pictures": ", ".join(self.image_providers),
            "deployment": f"Vercel {deployment.vercel_project_id}"
            if deployment.vercel_token.get_secret_value()
            else "folder",
            "cdn": f"bucket {deployment.cdn_bucket}" if deployment.cdn_bucket else "folder",
        }


SECTIONS: tuple[type[Section], ...] = (DatabaseSettings, ContentSettings, DeploymentSettings)

CORRECT_IT = "Correct it in the environment or in .env."


def variables() -> dict[str, FieldInfo]:
    """Every variable the product reads, by its name in the environment."""
    return {field.alias or name: field for section in SECTIONS for name, field in section.model_fields.items()}


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and validate all settings. An empty variable counts as unset. Raises ``ConfigurationError``."""
    settings, problems = read_settings(environ)
    if problems:
        raise ConfigurationError(" ".join(problems.values()), CORRECT_IT)
    return settings


def read_settings(environ: Mapping[str, str] | None = None) -> tuple[Settings, dict[str, str]]:
    """All settings, with an invalid one left at its default; and by variable what is wrong with it."""
    source = os.environ if environ is None else environ
    given = {name: source[name].strip() for name in variables() if source.get(name, "").strip()}
    problems: dict[str, str] = {}
    loaded: list[Section] = []
    for section in SECTIONS:
        try:
            loaded.append(section.model_validate(given))
        except ValidationError as error:
            found = {str(one["loc"][0]): _problem(one["loc"][0], one["msg"], given) for one in error.errors()}
            problems |= found
            loaded.append(section.model_validate({name: text for name, text in given.items() if name not in found}))
    return Settings(database=loaded[0], content=loaded[1], deployment=loaded[2]), problems  # type: ignore[arg-type]


def _problem(name: Any, message: str, given: Mapping[str, str]) -> str:
    field = variables()[str(name)]
    secret = "SecretStr" in str(field.annotation)
    value = "" if secret else f" (it is {given.get(str(name), '')[:60]!r})"
    problem = message.removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    return f"{name} {problem}{value}; example: {name}={field.examples[0] if field.examples else ''}."

"""From settings to resources: the live class where the settings have what it needs, else its stand-in."""

from typing import Any

import dagster as dg

from threadjuice_dagster.domain.writing.shortage import SAMPLES
from threadjuice_dagster.domain.writing.supply import WANTED_DAYS
from threadjuice_dagster.operations.alerts.delivery import AlertDelivery
from threadjuice_dagster.operations.backups.service import BackupService
from threadjuice_dagster.operations.cleanup.service import CleanupService
from threadjuice_dagster.operations.deployment.service import DeploymentService
from threadjuice_dagster.operations.deployment.targets import Deployer, LocalTarget
from threadjuice_dagster.operations.deployment.vercel import VercelTarget
from threadjuice_dagster.operations.environment.service import EnvironmentService
from threadjuice_dagster.operations.limits import SharedRateLimit, SharedSourceLimit
from threadjuice_dagster.operations.monitoring.thresholds import Thresholds
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.resources.io_manager import StoreIOManager
from threadjuice_dagster.resources.openai import OpenAIResource
from threadjuice_dagster.resources.pictures import PictureService
from threadjuice_dagster.resources.postgres import Database, EmbeddedPostgres, Postgres, Replica
from threadjuice_dagster.resources.storage import FolderStorage, S3Storage, Storage
from threadjuice_dagster.resources.writers import ExtractiveWriter, OpenAIWriter, Writer
from threadjuice_dagster.settings import Settings
from threadjuice_dagster.site.publisher import Publisher
from threadjuice_dagster.sources.registry import ThreadSources, may_read


def build_resources(settings: Settings) -> dict[str, Any]:
    """Return every resource by the name that assets ask for it with. Secrets stay references to the environment."""
    database, cdn, backups = _database(settings), _cdn(settings), _backups(settings)
    threads, backup_service = _threads(settings, database), _backup_service(settings, database, backups)
    takedown_service = TakedownService(
        database=database, storage=backups, cdn=cdn, encryption_key=_encryption_key(settings)
    )
    resources = {
        "database": database,
        "replica": _replica(settings, database),
        "store": StoreIOManager(database=database),
        "threads": threads,
        "writer": _writer(settings, database),
        "pictures": _pictures(settings),
        "cdn": cdn,
        "backups": backups,
        "inbox": _inbox(settings),
        "imports_folder": FolderStorage(root=str(settings.home / "imports")),
        "backup_service": backup_service,
        "takedown_service": takedown_service,
        "deployment_service": DeploymentService(database=database, deployer=_deployer(settings)),
        "cleanup_service": _cleanup_service(settings, database, backup_service, takedown_service),
        "alerts": _alerts(settings, database),
        "thresholds": Thresholds(
            daily_budget_usd=settings.content.daily_budget_usd,
            rejection_share=settings.content.rejection_alert_share,
            slow_query_seconds=settings.database.slow_query_seconds,
        ),
        "publisher": _publisher(settings),
        "policy": EditorialPolicy(
            daily_story_count=settings.content.daily_story_count,
            supply_days=_supply_days(settings, threads),
            thread_retention_hours=settings.content.thread_retention_hours,
            import_category_map=settings.content.import_category_map,
            import_default_category=settings.content.import_default_category,
            publication_job=_publication_job(settings),
        ),
    }
    return {**resources, "environment": _environment(settings, resources)}


def _publication_job(settings: Settings) -> str:
    if not settings.deployment.auto_deploy:
        return "site_job"
    return "staging_job" if settings.deployment.environment == "staging" else "production_job"


def _database(settings: Settings) -> Database:
    section = settings.database
    bounds: dict[str, Any] = {
        "pool_size": section.pool_size,
        "max_connections": section.max_connections,
        "statement_seconds": section.statement_seconds,
    }
    if section.url.get_secret_value():
        local = settings.deployment.environment == "local"
        return Postgres(url=dg.EnvVar("DATABASE_URL"), migrates_itself=local, **bounds)
    return EmbeddedPostgres(home=str(settings.home), **bounds)


def _replica(settings: Settings, database: Database) -> Replica:
    url = dg.EnvVar("DATABASE_REPLICA_URL") if settings.database.replica_url.get_secret_value() else ""
    return Replica(database=database, url=url)


def _environment(settings: Settings, resources: dict[str, Any]) -> EnvironmentService:
    section, webhook = settings.database, settings.deployment.monitoring_webhook.get_secret_value()
    asked = (
        "database",
        "threads",
        "writer",
        "pictures",
        "cdn",
        "backup_service",
        "inbox",
        "deployment_service",
        "publisher",
    )
    return EnvironmentService(
        **{name: resources[name] for name in asked},
        daily_stories=settings.content.daily_story_count,
        dagster_url=dg.EnvVar("DAGSTER_DATABASE_URL") if section.dagster_url.get_secret_value() else "",
        replica_url=dg.EnvVar("DATABASE_REPLICA_URL") if section.replica_url.get_secret_value() else "",
        webhook=dg.EnvVar("MONITORING_WEBHOOK") if webhook else "",
    )


def _threads(settings: Settings, database: Database) -> ThreadSources:
    content = settings.content
    has_key = bool(content.reddit_client_id.get_secret_value())
    return ThreadSources(
        specs=_places(settings, has_key=has_key),
        reddit_client_id=dg.EnvVar("REDDIT_CLIENT_ID") if has_key else "",
        reddit_client_secret=dg.EnvVar("REDDIT_CLIENT_SECRET") if has_key else "",
        reddit_user_agent=content.reddit_user_agent,
        reddit_url=content.reddit_url,
        reddit_oauth_url=content.oauth_url,
        stack_exchange_url=content.stack_exchange_url,
        stack_exchange_key=dg.EnvVar("STACK_EXCHANGE_KEY") if content.stack_exchange_key.get_secret_value() else "",
        hacker_news_url=content.hacker_news_url,
        hacker_news_search_url=content.hacker_news_search_url,
        limiter=SharedSourceLimit(database=database),
    )


def _places(settings: Settings, *, has_key: bool) -> list[str]:
    """Return the specs of the places that discovery reads.

    Where ``THREAD_SOURCES`` names none, they are those of the categories whose terms allow a newsroom to read them by
    itself, and locally the samples. Reddit takes a key; ``REDDIT_SUBREDDITS`` names its places instead.
    """
    content, local = settings.content, settings.deployment.environment == "local"
    named = list(content.thread_sources)
    subreddits = [f"reddit:{name.removeprefix('r/')}" for name in content.reddit_subreddits] if has_key else []
    if named:
        return named + subreddits
    places = [] if local and not has_key else _catalogue_places()
    reddit = subreddits or [place for place in places if has_key and place.startswith("reddit:")]
    others = [] if local else [place for place in places if not place.startswith("reddit:") and may_read(place)]
    return reddit + others or ["samples"]


def _supply_days(settings: Settings, threads: ThreadSources) -> float:
    """Return how long the unused threads should last: on a developer's machine nobody expects more of the samples."""
    return 0.0 if settings.deployment.environment == "local" and threads.specs == [SAMPLES] else WANTED_DAYS


def _catalogue_places() -> list[str]:
    from threadjuice_dagster.database.catalogue import read_catalogue

    return list(dict.fromkeys(place for category in read_catalogue()[0] for place in category.sources))


def _writer(settings: Settings, database: Database) -> Writer:
    content = settings.content
    if not content.openai_api_key.get_secret_value():
        return ExtractiveWriter()
    openai = OpenAIResource(
        api_key=dg.EnvVar("OPENAI_API_KEY"),
        next_key=dg.EnvVar("OPENAI_API_KEY_NEXT") if content.openai_api_key_next.get_secret_value() else "",
        base_url=content.openai_base_url,
        model=content.openai_model,
        judge_model=content.openai_judge_model,
        timeout_seconds=content.openai_timeout,
        price_input=content.openai_price_input,
        price_output=content.openai_price_output,
        limiter=SharedRateLimit(
            database=database,
            per_minute=content.rate_limit,
            daily_budget_usd=content.daily_budget_usd,
            patience_seconds=content.openai_timeout,
        ),
    )
    return OpenAIWriter(openai=openai, fallback=content.writer_fallback)


def _pictures(settings: Settings) -> PictureService:
    content = settings.content
    return PictureService(
        providers=settings.image_providers,
        openverse_url=content.openverse_api_url,
        unsplash_url=content.unsplash_api_url,
        unsplash_unattended=content.unsplash_unattended,
        allowed_origins=list(content.image_allowed_origins),
        quality=content.image_quality,
        unsplash_key=dg.EnvVar("UNSPLASH_ACCESS_KEY") if content.unsplash_access_key.get_secret_value() else "",
    )


def _cdn(settings: Settings) -> Storage:
    deployment = settings.deployment
    if deployment.cdn_bucket:
        return S3Storage(bucket=deployment.cdn_bucket, public_url=deployment.image_cdn_url)
    return FolderStorage(root=_pictures_folder(settings), public_url=deployment.image_cdn_url)


def _pictures_folder(settings: Settings) -> str:
    """Return the folder of pictures while no bucket is set; they stay there until they are copied to one."""
    return str(settings.home / "cdn")


def _backups(settings: Settings) -> Storage:
    bucket = settings.deployment.backup_bucket
    return S3Storage(bucket=bucket) if bucket else FolderStorage(root=str(settings.home / "backups"))


def _encryption_key(settings: Settings) -> Any:
    key = settings.deployment.backup_encryption_key.get_secret_value()
    return dg.EnvVar("BACKUP_ENCRYPTION_KEY") if key else ""


def _backup_service(settings: Settings, database: Database, storage: Storage) -> BackupService:
    return BackupService(
        database=database,
        storage=storage,
        encryption_key=_encryption_key(settings),
        retention=settings.deployment.backup_retention,
    )


def _cleanup_service(
    settings: Settings, database: Database, backup_service: BackupService, takedown_service: TakedownService
) -> CleanupService:
    deployment = settings.deployment
    return CleanupService(
        database=database,
        backup_service=backup_service,
        takedown_service=takedown_service,
        rejected_days=deployment.cleanup_rejected_days,
        withdrawn_days=deployment.cleanup_withdrawn_days,
        events_days=deployment.cleanup_events_days,
        archive_days=deployment.cleanup_archive_days,
        run_days=deployment.run_retention_days,
        thread_retention_hours=settings.content.thread_retention_hours,
        test_prefixes=list(deployment.cleanup_test_prefixes),
        max_share=deployment.cleanup_max_share,
    )


def _deployer(settings: Settings) -> Deployer:
    deployment = settings.deployment
    if not deployment.vercel_token.get_secret_value():
        folder, port = str(settings.home / "deployment"), deployment.production_port
        return LocalTarget(folder=folder, site_url=deployment.production_url, port=port)
    secrets = {
        "VERCEL_AUTOMATION_BYPASS_SECRET": deployment.vercel_bypass,
        "VERCEL_PROTECTION_BYPASS": deployment.vercel_protection_bypass,
    }
    bypass = next((name for name, secret in secrets.items() if secret.get_secret_value()), "")
    return VercelTarget(
        token=dg.EnvVar("VERCEL_TOKEN"),
        project_id=deployment.vercel_project_id,
        team_id=deployment.vercel_team_id,
        bypass=dg.EnvVar(bypass) if bypass else "",
        api_url=deployment.vercel_api_url,
        site_url=deployment.production_url,
    )


def _alerts(settings: Settings, database: Database) -> AlertDelivery:
    deployment = settings.deployment
    return AlertDelivery(
        database=database,
        webhook=dg.EnvVar("MONITORING_WEBHOOK") if deployment.monitoring_webhook.get_secret_value() else "",
        secret=dg.EnvVar("MONITORING_WEBHOOK_SECRET") if deployment.webhook_secret.get_secret_value() else "",
        format=deployment.webhook_format,
        ui_url=deployment.ui_url,
        runbook_url=deployment.runbook_url,
        long_run_minutes=deployment.long_run_minutes,
    )


def _inbox(settings: Settings) -> Storage:
    bucket, prefix = settings.content.inbox_bucket, settings.content.inbox_prefix
    if bucket:
        return S3Storage(bucket=bucket, prefix=prefix, any_key=True)
    return FolderStorage(root=str(settings.home / "inbox"))


def _publisher(settings: Settings) -> Publisher:
    deployment = settings.deployment
    return Publisher(
        folder=str(settings.home / "site"),
        site_url=deployment.production_url,
        preview_url=f"http://127.0.0.1:{deployment.preview_port}",
        pictures_root=_pictures_folder(settings),
    )

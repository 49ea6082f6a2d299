"""Settings: what is read, what is refused, and what is never shown."""

from pathlib import Path

import pytest

from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.settings import load_settings, variables


def test_an_empty_environment_is_a_complete_local_newsroom() -> None:
    settings = load_settings({})
    assert settings.deployment.environment == "local"
    assert settings.image_providers == ["title_card"]
    assert settings.stand_ins["database"] == "embedded PostgreSQL"
    assert settings.home == (Path.cwd() / ".threadjuice").resolve()


def test_production_looks_for_photographs_by_default() -> None:
    settings = load_settings({"THREADJUICE_ENV": "production"})
    assert settings.image_providers == ["openverse", "unsplash", "title_card"]


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings({"OPENAI_MODEL": "  ", "DATABASE_POOL_SIZE": ""}).content.openai_model == "gpt-4o"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://user:password@host/db"),
        ("DATABASE_POOL_SIZE", "many"),
        ("DATABASE_POOL_SIZE", "0"),
        ("THREADJUICE_ENV", "prod"),
        ("THREADJUICE_TIMEZONE", "Mars/Olympus"),
        ("OPENAI_BASE_URL", "localhost:8000"),
        ("CONTENT_GENERATION_RATE_LIMIT", "-1"),
        ("IMAGE_OPTIMIZATION_QUALITY", "1000"),
        ("IMAGE_PROVIDERS", "openverse,flickr"),
        ("IMAGE_ALLOWED_ORIGINS", "http://127.0.0.1:1/path"),
        ("WRITER_FALLBACK", "yes"),
        ("UNSPLASH_UNATTENDED", "perhaps"),
        ("MONITORING_WEBHOOK", "hooks.slack.com"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_variable_and_an_example(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings({name: value})
    message = str(raised.value)
    assert name in message
    assert f"example: {name}=" in message
    assert "\n" not in message


def test_every_wrong_value_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings({"THREADJUICE_ENV": "prod", "DAILY_STORY_COUNT": "0"})
    assert "THREADJUICE_ENV" in str(raised.value)
    assert "DAILY_STORY_COUNT" in str(raised.value)


def test_a_wrong_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings({"DATABASE_URL": "mysql://user:hunter2@host/db", "MONITORING_WEBHOOK": "hunter3"})
    assert "hunter" not in str(raised.value)


def test_secrets_do_not_show_in_a_settings_object() -> None:
    settings = load_settings({"OPENAI_API_KEY": "sk-hunter2", "DATABASE_URL": "postgresql://u:hunter2@h/d"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.model_dump_json())


@pytest.mark.parametrize("name", sorted(variables()))
def test_every_example_is_itself_a_valid_value(name: str) -> None:
    load_settings({name: variables()[name].examples[0]})  # type: ignore[index]

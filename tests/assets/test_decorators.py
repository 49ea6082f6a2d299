"""What an asset of the newsroom has without saying so."""

import inspect
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from threadjuice_dagster.assets import decorators
from threadjuice_dagster.assets.stories.story_draft import story_draft
from threadjuice_dagster.definitions import build_definitions
from threadjuice_dagster.settings import load_settings

GROUPS = {"threads", "stories", "publication", "deployment", "upkeep", "monitoring"}


def test_the_group_of_an_asset_is_the_folder_it_is_in() -> None:
    specs = build_definitions(load_settings({})).resolve_all_asset_specs()
    assert {spec.group_name for spec in specs} == GROUPS
    for spec in specs:
        (reference,) = spec.metadata["dagster/code_references"].code_references
        assert f"/assets/{spec.group_name}/" in reference.file_path, spec.key


def test_a_code_reference_leads_to_the_lines_of_the_asset() -> None:
    (reference,) = story_draft.specs_by_key[story_draft.key].metadata["dagster/code_references"].code_references
    lines = Path(reference.file_path).read_text().splitlines()[reference.line_number - 1 :]
    assert lines[0].startswith("@story_asset(")
    assert next(line for line in lines if line.startswith("def ")).startswith("def story_draft(")


def test_where_the_settings_name_a_repository_assets_link_to_it() -> None:
    for address, link in (
        ("https://github.com/a/b/tree/main", "https://github.com/a/b/tree/main/threadjuice_dagster/assets/"),
        ("https://git.example.org/a/-/tree/v1", "https://git.example.org/a/-/tree/v1/threadjuice_dagster/assets/"),
    ):
        definitions = build_definitions(load_settings({"CODE_URL": address}))
        for spec in definitions.resolve_all_asset_specs():
            (reference,) = spec.metadata["dagster/code_references"].code_references
            assert reference.url.startswith(link + str(spec.group_name)), spec.key


def test_a_body_need_not_ask_for_what_only_the_failure_report_uses() -> None:
    step = decorators.reports_failures(lambda: "made")
    assert list(inspect.signature(step).parameters) == ["context", "database"]


def test_a_failure_inside_a_generator_is_reported_too() -> None:
    seen: list[Exception] = []

    @contextmanager
    def surrounding(context: object, database: object):  # type: ignore[no-untyped-def]
        try:
            yield
        except ValueError as error:
            seen.append(error)

    def body(number: int):  # type: ignore[no-untyped-def]
        yield number
        raise ValueError

    assert decorators._inside(surrounding, body)("context", "database", number=1) is None
    assert len(seen) == 1


def test_an_asset_may_go_without_retries() -> None:
    @decorators.asset(kinds={"python"}, retry_policy=None)
    def one_off() -> dg.MaterializeResult[None]:
        """A step nobody tries again."""
        return dg.MaterializeResult()

    assert one_off.op.retry_policy is None
    assert story_draft.op.retry_policy == decorators.RETRIES

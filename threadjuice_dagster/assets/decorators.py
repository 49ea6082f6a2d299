"""What every asset of the newsroom shares, declared once: group, owner, retries, failure report, code reference.

An asset body fetches, calls the domain, returns a result and reports metadata. What happens when
a body fails belongs in ``assets/steps.py``.
"""

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import dagster as dg

from threadjuice_dagster.assets.steps import RETRIES, reported, story_step
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.resources.postgres import Database

OWNERS = ["team:newsroom"]

Body = Callable[..., Any]


def asset(
    *, kinds: set[str], metadata: dict[str, Any] | None = None, **options: Any
) -> Callable[[Body], dg.AssetsDefinition]:
    """Return a decorator that makes an asset of a function; its group is the folder that its module is in.

    ``options`` are those of ``dg.asset``. A body that does not use ``context`` or ``database`` need not ask for them.
    """
    return lambda body: _asset(body, reports_failures(body), kinds, metadata, options)


def story_asset(
    *, kinds: set[str], metadata: dict[str, Any] | None = None, **options: Any
) -> Callable[[Body], dg.AssetsDefinition]:
    """Return a decorator for an asset whose partition is a story: its run claims the story, its value is stored."""
    options = {"partitions_def": STORIES, "io_manager_key": "store", **options}
    return lambda body: _asset(body, claims_story(body), kinds, metadata, options)


def reports_failures(body: Body) -> Any:
    """Return the body of an asset or a check such that a failure is recorded, and retried where that may help."""
    return _inside(reported, body)


def claims_story(body: Body) -> Any:
    """Return the body of an asset or a check such that its run first claims the story of its partition."""
    return _inside(story_step, body)


def _asset(
    body: Body, step: Body, kinds: set[str], metadata: dict[str, Any] | None, options: dict[str, Any]
) -> dg.AssetsDefinition:
    code = body.__code__
    # Dagster's ``with_source_code_references`` would name the wrapper's file, and read every source at each loading.
    reference = dg.LocalFileCodeReference(file_path=code.co_filename, line_number=code.co_firstlineno)
    references = {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}
    shared = {"group_name": Path(code.co_filename).parent.name, "owners": OWNERS, "retry_policy": RETRIES}
    options = {**shared, "kinds": kinds, "metadata": {**(metadata or {}), **references}, **options}
    return dg.asset(**options)(step)


def _inside(surrounding: Callable[[Any, Database], AbstractContextManager[Any]], body: Body) -> Any:
    """Return the body run inside a context manager that takes Dagster's context and the database."""
    signature = inspect.signature(body)
    needed = {"context": inspect.Parameter.empty, "database": Database}
    added = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
        for name, annotation in needed.items()
        if name not in signature.parameters
    ]
    unasked = {parameter.name for parameter in added}

    @functools.wraps(body)
    def step(context: Any, database: Database, **inputs: Any) -> Any:
        given = {"context": context, "database": database, **inputs}
        with surrounding(context, database):
            result = body(**{name: value for name, value in given.items() if name not in unasked})
            # A generator fails while it is read, so it is read here.
            return (item for item in list(result)) if inspect.isgenerator(result) else result

    parameters = sorted([*signature.parameters.values(), *added], key=lambda parameter: parameter.name != "context")
    returned = inspect.Signature.empty if inspect.isgeneratorfunction(body) else signature.return_annotation
    step.__signature__ = inspect.Signature(parameters, return_annotation=returned)  # type: ignore[attr-defined]
    return step

"""Plots, tables and lists for an asset's metadata. The assets decide what they show."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from threadjuice_dagster.assets.preview import code

if TYPE_CHECKING:
    import pandas as pd

_KINDS = {bool: "bool", int: "int", float: "float"}


def bars(values: Sequence[float], title: str, unit: str = "") -> dg.MarkdownMetadataValue:
    """Return a bar chart small enough to be shown inline, with its figures."""
    most = max(*values, 0, 0) or 1
    heights = [round(40 * value / most) for value in values]
    path = "".join(f"M{8 * x},40v-{height}h6v{height}" for x, height in enumerate(heights) if height)
    size = f"viewBox='0 0 {8 * len(values)} 40' width='{16 * len(values)}' height='80'"
    ground = f"<path fill='%23ced4da' d='M0,40h{8 * len(values)}v-.5H0z'/>"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' {size}>{ground}<path fill='%23d9480f' d='{path}'/></svg>"
    address = svg.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E")
    figures = ", ".join(f"{value:g}" for value in values)
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml,{address})\n\n{title}: {figures}{unit}")


def frame_table(frame: "pd.DataFrame") -> dg.MetadataValue[Any]:
    """Return a table of a data frame, its index first; missing values are left empty."""
    rows = frame.reset_index().astype(object)
    return table(rows.where(rows.notna(), None).to_dict(orient="records"), [str(name) for name in rows.columns])


def table(rows: Iterable[Mapping[Any, Any]], columns: Sequence[str]) -> dg.MetadataValue[Any]:
    """Return a table of rows, or the word ``none``; a column has the type of its first value."""
    records = [{name: row[name] for name in columns} for row in rows]
    if not records:
        return dg.MetadataValue.text("none")
    kinds = {name: _kind([record[name] for record in records]) for name in columns}
    shown = [dg.TableRecord({name: _cell(record[name], kinds[name]) for name in columns}) for record in records]
    return dg.MetadataValue.table(shown, dg.TableSchema([dg.TableColumn(name, kinds[name]) for name in columns]))


def listed(lines: Sequence[str], nothing: str, most: int = 50) -> dg.MarkdownMetadataValue:
    """Return a list of the first lines and the number of the others, or the text for no line."""
    shown = [f"* {code(line)}" for line in lines[:most]]
    shown += [f"* and {len(lines) - most} more"] if len(lines) > most else []
    return dg.MetadataValue.md("\n".join(shown) or nothing)


def _kind(values: Sequence[Any]) -> str:
    present = [value for value in values if value is not None]
    return _KINDS.get(type(present[0]), "string") if present else "string"


def _cell(value: Any, kind: str) -> Any:
    return ("" if kind == "string" else None) if value is None else value if kind != "string" else str(value)

"""Plots and tables as an operator sees them in an asset's metadata. What is plotted belongs in the assets."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from threadjuice_dagster.assets.preview import code

if TYPE_CHECKING:
    import pandas as pd

_KINDS = {bool: "bool", int: "int", float: "float"}


def bars(values: Sequence[float], title: str, unit: str = "") -> dg.MarkdownMetadataValue:
    """Bars, as a picture small enough to be shown inline, and the figures it was drawn from."""
    most = max(*values, 0, 0) or 1
    heights = [round(40 * value / most) for value in values]
    path = "".join(f"M{8 * x},40v-{height}h6v{height}" for x, height in enumerate(heights) if height)
    size = f"viewBox='0 0 {8 * len(values)} 40' width='{16 * len(values)}' height='80'"
    ground = f"<path fill='%23ced4da' d='M0,40h{8 * len(values)}v-.5H0z'/>"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' {size}>{ground}<path fill='%23d9480f' d='{path}'/></svg>"
    address = svg.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E")
    figures = ", ".join(f"{value:g}" for value in values)
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml,{address})\n\n{title}: {figures}{unit}")


def frame_table(found: "pd.DataFrame") -> dg.MetadataValue[Any]:
    """A table of a frame, its index first; what nobody knows is left empty."""
    rows = found.reset_index().astype(object)
    return table(rows.where(rows.notna(), None).to_dict(orient="records"), [str(name) for name in rows.columns])


def table(rows: Iterable[Mapping[Any, Any]], columns: Sequence[str]) -> dg.MetadataValue[Any]:
    """A table of rows; a column's type is that of its first value. Without a row, the word ``none``."""
    records = [{name: row[name] for name in columns} for row in rows]
    if not records:
        return dg.MetadataValue.text("none")
    kinds = {name: _kind([record[name] for record in records]) for name in columns}
    shown = [dg.TableRecord({name: _cell(record[name], kinds[name]) for name in columns}) for record in records]
    return dg.MetadataValue.table(shown, dg.TableSchema([dg.TableColumn(name, kinds[name]) for name in columns]))


def listed(lines: Sequence[str], nothing: str, most: int = 50) -> dg.MarkdownMetadataValue:
    """A list of lines, as they are, or the word for none; however many there are, a report stays short."""
    shown = [f"* {code(line)}" for line in lines[:most]]
    shown += [f"* and {len(lines) - most} more"] if len(lines) > most else []
    return dg.MetadataValue.md("\n".join(shown) or nothing)


def _kind(values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    return _KINDS.get(type(known[0]), "string") if known else "string"


def _cell(value: Any, kind: str) -> Any:
    return ("" if kind == "string" else None) if value is None else value if kind != "string" else str(value)

"""The tables of a page, as texts: those of the checks, and how many stars carry each flag."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from spfast.validation.checks import CHECKS
from spfast.validation.columns import shown_columns
from spfast.validation.flag_residuals import flagged_stars

__all__ = ["PageTable", "check_tables", "count_flags", "format_number", "typeset"]

#: What a terminal is spared, and how the page writes it.
_TYPED = {"chi2": "\N{GREEK SMALL LETTER CHI}\N{SUPERSCRIPT TWO}", "+-": "\N{PLUS-MINUS SIGN}"}


@dataclass(frozen=True)
class PageTable:
    """A table as the template takes it."""

    name: str
    title: str
    note: str
    heads: list[tuple[str, bool]]  # each heading, and whether its column holds numbers
    rows: list[list[str]]
    legend: list[tuple[str, str]]  # each heading and what the column says


def check_tables(tables: Mapping[str, Table], page: str) -> list[PageTable]:
    """Return the checks' tables that stand on one page.

    Parameters
    ----------
    tables : dict of astropy Table
        Of `run_checks`.
    page : str
        ``"report"`` or ``"compare"``.

    Returns
    -------
    list of PageTable
        In the order of `CHECKS`.
    """
    return [_page_table(check, tables[check.name]) for check in CHECKS if check.page == page and check.name in tables]


def _page_table(check, table):
    columns = shown_columns(check.columns, "page")
    shows = check.describe(table)
    note = typeset(f"{shows[0].upper()}{shows[1:]}. {check.note}")
    headings = [typeset(column.heading_with_unit) for column in columns.values()]
    is_number = [bool(column.format) for column in columns.values()]
    rows = [[_cell(row, name, column) for name, column in columns.items()] for row in check.shown(table)]
    legend = list(zip(headings, (typeset(column.description) for column in columns.values()), strict=True))
    return PageTable(check.name, check.title, note, list(zip(headings, is_number, strict=True)), rows, legend)


def typeset(text: str) -> str:
    """Return a text with the characters that a terminal may lack."""
    for plain, typed in _TYPED.items():
        text = text.replace(plain, typed)
    return re.sub(r"(?<![\w.-])-(?=[\d.])", "\N{MINUS SIGN}", text)


def _cell(row, name, column):
    """A value as a text, with its error if it has one."""
    if not column.format:
        return str(row[name])
    value = format_number(row[name], column.format)
    if not column.error or not np.isfinite(row[name]):
        return value
    return f"{value} \N{PLUS-MINUS SIGN} {format_number(row[column.error], column.format.lstrip('+'))}"


def format_number(value: float, spec: str) -> str:
    """Write a number with a true minus sign; a dash for NaN."""
    if not np.isfinite(value):
        return "\N{EN DASH}" if np.isnan(value) else "\N{INFINITY}"
    return f"{value:{spec}}".replace("-", "\N{MINUS SIGN}")


def count_flags(table: Table) -> list[tuple[str, str, int]]:
    """Return name, meaning and number of stars of each flag that the catalog's header names.

    Parameters
    ----------
    table : astropy Table
        With the catalog's columns and header.

    Returns
    -------
    list of (str, str, int)
        Empty for a catalog without flags.
    """
    return [(name, meaning, int(np.count_nonzero(stars))) for name, meaning, stars in flagged_stars(table)]

"""The figures of a page: drawn, saved as PNG and PDF, and put into the page or beside it."""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spfast.errors import BadInputError
from spfast.figures.sheets import Sheet, draw_sheet
from spfast.figures.style import figure_style, save_figure
from spfast.progress import Progress

__all__ = ["FIGURES", "PageFigure", "draw_figures"]

#: The folder of the figures, beside the page.
FIGURES = "figures"


@dataclass(frozen=True)
class PageFigure:
    """A figure as the template takes it."""

    name: str
    title: str
    caption: str
    alt: str
    source: str  # a data URI, or a path beside the page
    width: int  # [pixels]: the page shows it no larger, so that it stays sharp
    height: int


def draw_figures(
    sheets: Sequence[Sheet], data: object, folder: Path, images: str, quiet: bool = True
) -> dict[str, list]:
    """Draw and save every figure whose data are there.

    Parameters
    ----------
    sheets : sequence of Sheet
    data : FigureData or CompareData
        What the sheets are drawn from.
    folder : pathlib.Path
        Of the page; the figures go to `FIGURES` in it.
    images : str
        ``"inside"`` the page or ``"beside"`` it.
    quiet : bool
        No progress bar.

    Returns
    -------
    dict
        For the template: ``figures``, a list of `PageFigure`, and ``left_out``, the title of each figure that could not
        be drawn with the reason.
    """
    (folder / FIGURES).mkdir(exist_ok=True)
    figures, left_out = [], []
    with Progress("draw figures", len(sheets), quiet) as progress:
        for sheet in sheets:
            try:
                figure = draw_sheet(sheet, data)
            except BadInputError as error:
                left_out.append((sheet.title, str(error)))
            else:
                with figure_style():
                    png, _ = save_figure(figure, folder / FIGURES / sheet.name)
                source = _source(png, images)
                figures.append(PageFigure(sheet.name, sheet.title, sheet.caption, sheet.alt, source, *_size(png)))
            progress.advance()
    return {"figures": figures, "left_out": left_out}


def _size(png):
    """Width and height of a PNG file: two big-endian integers behind its signature and the head of its first chunk."""
    with png.open("rb") as file:
        return struct.unpack(">II", file.read(24)[16:])


def _source(png, images):
    if images == "inside":
        return "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode("ascii")
    return f"{FIGURES}/{png.name}"

"""Draws the figures of ``docs/gallery.rst`` from 6,000 mock stars: ``python docs/make_gallery.py [FOLDER]``."""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from spfast.catalog.make import make_catalog
from spfast.cli.simulate import MOCK_CLUSTERS
from spfast.data.tables.read import read_table
from spfast.figures.comparison import COMPARE_SHEETS, CompareData
from spfast.figures.figure_data import FigureData, figure_table
from spfast.figures.sheets import SHEETS, draw_sheet
from spfast.figures.style import figure_style
from spfast.simulate import simulate_survey
from spfast.training.fold import fit_folds
from spfast.training.tune import tune
from spfast.validation.cluster_members import select_members
from spfast.validation.comparison import match_catalogs

STARS, SEED = 6000, 11
#: Dots per inch, and colours of each image: small enough to be kept with the source.
DPI, PALETTE = 110, 128
#: Nothing is cut from a survey that the simulator writes directly.
WITHOUT = ("cut_flow",)
#: Penalty of the catalog that the first one is compared with.
OTHER_PENALTY = 120.0


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        survey = simulate_survey(Path(work) / "survey", STARS, seed=SEED, quiet=True, clusters=MOCK_CLUSTERS)
        models = fit_folds(survey)
        catalog = make_catalog(survey, models=models)
        _, grid = tune(survey, penalties=(15, 30, 60, 120), zero_points=(0.029, 0.049, 0.069), quiet=True)
        truth = read_table(survey.path / "truth.fits")
        table = figure_table(catalog, survey.stars, truth)
        data = FigureData(table, survey, models, select_members(table), tune=grid)
        pair = CompareData(table, match_catalogs(catalog, make_catalog(survey, penalty=OTHER_PENALTY)))
        for sheet in (*SHEETS, *COMPARE_SHEETS):
            if sheet.name not in WITHOUT:
                figure = draw_sheet(sheet, pair if sheet in COMPARE_SHEETS else data)
                buffer = io.BytesIO()
                with figure_style():
                    figure.text(0.003, 0.003, "mock", ha="left", va="bottom", color="#D55E00", fontsize=7)
                    figure.savefig(buffer, dpi=DPI)
                image = Image.open(buffer).convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE)
                image.save(folder / f"{sheet.name}.png", optimize=True)
        print(f"best stars: {int(np.count_nonzero(data.table['best']))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "gallery")

"""Draw docs/images/parallax_mock.png from what ``spfast demo`` left: python docs/make_readme_figure.py demo/"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from astropy.table import Table, join

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

OUTPUT = Path(__file__).parent / "images" / "parallax_mock.png"
BEST_SNR = 20.0
GREY, BLUE = "0.72", "#1f5fa8"
#: Share of the parallaxes that may lie beyond either end of the axes.
LEFT_OUT = 0.0005


def main(demo):
    demo = Path(demo)
    catalog, truth = Table.read(demo / "catalog.fits"), Table.read(demo / "download" / "truth.fits")
    truth = truth["APOGEE_ID", "true_parallax"]
    stars = join(catalog, truth, keys_left="2MASS_ID", keys_right="APOGEE_ID", metadata_conflicts="silent")
    zero_point = np.where(stars["sample"] == "A", catalog.meta["ZEROPT_B"], catalog.meta["ZEROPT_A"])
    raw = stars["Gaia_parallax"] - zero_point
    best = (stars["training_set"] == 1) & (raw >= BEST_SNR * stars["Gaia_parallax_err"])

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5.2), layout="constrained")
    spec, gaia = stars["spec_parallax"][best], stars["Gaia_parallax"][best]
    errors = {"xerr": stars["spec_parallax_err_total"][best], "yerr": stars["Gaia_parallax_err"][best]}
    left.errorbar(spec, gaia, **errors, fmt="o", ms=3, lw=0.6, color=BLUE)
    left.set_ylabel("Gaia parallax, zero point added [mas]")
    left.set_title(f"Gaia, parallax/error $\\geq$ {BEST_SNR:.0f}: {best.sum()} stars")
    right.plot(stars["spec_parallax"], stars["true_parallax"], "o", ms=2, color=GREY, mec="none")
    right.plot(stars["spec_parallax"][best], stars["true_parallax"][best], "o", ms=3, color=BLUE)
    right.set(ylabel="true parallax [mas]", title=f"The truth: all {len(stars):,} stars, the same ones in blue")
    for axes, shown in ((left, stars[best]), (right, stars)):
        both = np.concatenate([shown["spec_parallax"], shown["true_parallax"]])
        low, high = 0.8 * np.quantile(both, LEFT_OUT), 1.2 * np.quantile(both, 1.0 - LEFT_OUT)
        axes.plot([low, high], [low, high], "k-", lw=0.8, zorder=3)
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set_xlabel("spectrophotometric parallax [mas]")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
    figure.suptitle("A mock survey: each star predicted by the model that never saw it")
    OUTPUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUTPUT, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "demo")

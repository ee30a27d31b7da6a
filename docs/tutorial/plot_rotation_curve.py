"""
From the archive to a rotation curve
====================================

This page starts with an allStar table and ends with the rotation curve of the Milky Way's disc. It shows every command
that you type, what the command says, and the figures. You need no data: the stars are **mock**, made by ``spfast
simulate`` in the file formats of APOGEE DR17 and Gaia DR2. "Real data" says what replaces a mock file.

The page runs whenever the documentation is built, in less than a minute, with 700 stars. The paper had 44,784. So do
not judge spfast's precision by these figures; :doc:`/measurements` has larger surveys.

Install spfast from its checkout with the extra for figures, and make an empty folder:

.. code-block:: console

   $ pip install ".[report]"
   $ mkdir ~/galaxy
   $ cd ~/galaxy

"""

# %%
# This helper runs a command in a folder of its own and prints what it says. At your terminal, type what follows
# ``$``.

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table

import spfast
from spfast.catalog.galaxy import galactocentric
from spfast.figures.figure_data import figure_table
from spfast.figures.paper import plot_parallaxes

room = tempfile.TemporaryDirectory()
folder = Path(room.name)
path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def shell(command):
    print(f"$ {command}")
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    print(done.stdout)


# %%
# 1. An archive
# -------------
#
# ``archive/`` has the folders of SDSS's science archive, with one spectrum file for each star.

shell("spfast simulate archive/dr17/ --stars 700 --seed 1 --quiet")
shell("ls archive/dr17/")

# %%
# **Real data**: skip this step. Download ``allStar-dr17-synspec_rev1.fits`` from SDSS (:doc:`/archives`).
#
# 2. What to fetch
# ----------------
#
# ``wanted`` reads the allStar table and lists the giants' spectra. It asks no server.

shell("spfast wanted archive/dr17/allStar-dr17.fits -o wanted/ --quiet")
shell("head -n 2 wanted/paths.txt")

# %%
# **Real data**: these two commands fetch the spectra and the table of Gaia and WISE. Both can be interrupted
# and run again. The mock archive has the same files, so this page goes on without them.
#
# .. code-block:: console
#
#    $ rsync -aLv --files-from=wanted/paths.txt rsync://dtn.sdss.org/ sas/
#    $ spfast query wanted/ -o gaia.fits
#
# 3. A survey
# -----------
#
# ``ingest`` matches the tables, applies the cuts, normalises the spectra and writes one folder. Read the list:
# it says how many stars each cut leaves. ``survey/rejected.ecsv`` names each star that was left out, with the
# reason.

shell(
    "spfast ingest --allstar archive/dr17/allStar-dr17.fits \\\n"
    "    --spectra archive/dr17/ --gaia archive/dr17/gaia.fits -o survey/"
)

# %%
# **Real data**: ``--allstar allStar-dr17-synspec_rev1.fits --spectra sas/dr17/ --gaia gaia.fits``. The line
# about the parallaxes must name the release of Gaia that you asked for.
#
# 4. A catalog
# ------------
#
# ``catalog`` trains two models, A and B, and predicts each star with the model that was not trained on it.

shell("spfast catalog survey/ -o catalog.fits --models models/ --penalty auto")

# %%
# 5. Is it right?
# ---------------
#
# ``validate`` compares the catalog with Gaia. It prints tables (:doc:`/validation`) and, at the end, a verdict. This is
# the verdict:

shell("spfast validate catalog.fits -o validation.ecsv | grep -A 10 '^Verdict'")

# %%
# It is bad in two lines, and rightly so: so few training stars do not make a good model. For a paper, no line
# may be bad. **Real data**: add ``--survey survey/ --models models/``, so that dust and trends are judged too, and
# ``--clusters FILE`` if you have members of clusters.
#
# The same comparison as a figure. The panels of the report are functions that you can call:


catalog = Table.read(folder / "catalog.fits")
stars = spfast.open_survey(folder / "survey").stars
table = figure_table(catalog, stars)

figure, ax = plt.subplots(figsize=(5.5, 4.5), layout="constrained")
plot_parallaxes(table, ax, sample="training", colour="SNR")
ax.set_title("Mock: training stars")
plt.show()

# %%
# 6. Which stars to use
# ---------------------
#
# Each bit of ``flags`` is a warning. Some concern only Gaia's parallax and do not touch the prediction, so do
# not ask for ``flags == 0`` (:doc:`/using_a_catalog`).

good = (catalog["flags"] & spfast.RECOMMENDED_FLAGS) == 0
print(f"{good.sum()} of {len(catalog)} stars are good")
print(f"flags == 0 would leave {(catalog['flags'] == 0).sum()}")

# %%
# 7. A map
# --------
#
# ``galactocentric`` turns positions, distances, proper motions and radial velocities into places and velocities
# in the Galaxy.


def rotation_of(stars):
    """Distance from the centre [kpc], rotation [km/s] and height [kpc]."""
    place = galactocentric(stars)
    x, y, z, v_x, v_y = (np.array(place[name]) for name in ("x", "y", "z", "v_x", "v_y"))
    radius = np.hypot(x, y)
    return radius, (v_x * y - v_y * x) / radius, z


place = galactocentric(table[good])
radius, rotation, height = rotation_of(table[good])

figure, ax = plt.subplots(figsize=(6, 4.8), layout="constrained")
points = ax.scatter(place["x"], place["y"], c=rotation, s=8, vmin=100, vmax=280)
ax.plot(-8.122, 0, "*", color="tab:red", markersize=12, label="Sun")
ax.set(xlabel="x [kpc]", ylabel="y [kpc]", xlim=(-20, 5), ylim=(-12, 12))
ax.set(title="Mock red giants", aspect="equal")
ax.legend()
figure.colorbar(points, label="rotation velocity [km/s]")
plt.show()

# %%
# 8. A rotation curve
# -------------------
#
# Take stars of the thin disc, and the median of their rotation in rings. For its error, draw the stars again
# and again, each with a ln parallax within its error, and look at the spread of the curves. The error of ln
# parallax is Gaussian; that of the distance is not.

thin = table[good & (np.array(table["ALPHA_M"]) < 0.12)]
rings = np.arange(5.0, 15.1, 2.0)
rng = np.random.default_rng(1)


def curve(stars, shift):
    """Median rotation in each ring [km/s], with ln parallax moved by `shift`."""
    moved = stars.copy()
    moved["spec_parallax"] = np.exp(moved["ln_spec_parallax"] + shift)
    radius, rotation, height = rotation_of(moved)
    ring = np.where(np.abs(height) < 1.0, np.digitize(radius, rings), 0)
    numbers = range(1, len(rings))
    return np.array([np.median(rotation[ring == number]) for number in numbers])


def draw():
    """The curve of as many stars, drawn again, each at a place within its error."""
    stars = thin[rng.integers(0, len(thin), len(thin))]
    return curve(stars, stars["ln_spec_parallax_err"] * rng.normal(size=len(stars)))


best = curve(thin, 0.0)
errors = np.std([draw() for _ in range(50)], axis=0)
farther, nearer = curve(thin, -0.05), curve(thin, 0.05)

# %%
# Errors that all stars share do not average out (:ref:`shared-errors`). The grey band shows what 5% in all
# distances would do. Compare it with the bars.

middle = (rings[:-1] + rings[1:]) / 2
figure, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
ax.fill_between(middle, nearer, farther, color="0.85", label="all distances 5% off")
ax.errorbar(middle, best, errors, fmt="o", capsize=3, label="median of the ring")
ax.axhline(223, color="tab:orange", label="put into the mock's thin disc")
ax.set(xlabel="R [kpc]", ylabel="rotation velocity [km/s]", ylim=(150, 290))
ax.set_title("Mock red giants, low [alpha/M]")
ax.legend()
plt.show()

# %%
# **Real data**: the orange line does not exist. Stars rotate more slowly than the circular velocity (asymmetric
# drift), and the selection of the survey depends on place and colour. A paper has to deal with both.
#
# What you have
# -------------
#
# * ``catalog.fits``: parallaxes, distances, errors and flags (:doc:`/using_a_catalog`).
# * ``models/``: two models that predict new stars (:doc:`/published_models`).
# * ``validation.ecsv``: the scores that a paper should quote.
#
# ``spfast report catalog.fits --survey survey/ --models models/ -o report/`` draws these and many more figures
# on one page (:doc:`/gallery`). :doc:`/citing` says what to cite.

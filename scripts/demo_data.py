"""Makes examples/demo/data: eight weeks of hourly readings for six heat-pump sites, the same on every run.

The demand follows the weather, the hour and the weekday, with noise, gaps and a few broken meters, so
that a model has something to learn and a profile something to find.
"""

from __future__ import annotations

import csv
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "examples" / "demo" / "data"
HOURS = 24 * 7 * 8
START = datetime(2025, 1, 6, tzinfo=UTC)
SITES = {  # name: mean temperature in C, kilowatts for each degree below 17 C, base load in kW
    "aalborg": (1.5, 1.9, 14.0),
    "bergen": (3.0, 1.4, 9.0),
    "graz": (0.5, 2.3, 21.0),
    "leeds": (4.0, 1.7, 12.0),
    "tartu": (-4.0, 2.6, 17.0),
    "turku": (-3.0, 2.1, 11.0),
}


def readings(site: str) -> list[tuple[str, str, str]]:
    """Rows of (time, temperature in C, energy in kWh); an empty energy is a gap."""
    noise = random.Random(site)  # noqa: S311 - data, not secrets
    mean, slope, base = SITES[site]
    front = 0.0
    rows = []
    for hour in range(HOURS):
        at = START + timedelta(hours=hour)
        front = 0.985 * front + noise.gauss(0, 0.55)
        temperature = mean + front + 2.4 * math.sin((at.hour - 9) / 24 * 2 * math.pi)
        busy = 1.9 if at.weekday() < 5 and 7 <= at.hour < 18 else 1.0  # noqa: PLR2004 - office hours
        energy = base * busy + slope * max(0.0, 17 - temperature) + noise.gauss(0, 1.6)
        text = f"{energy:.1f}"
        if noise.random() < 0.004:  # noqa: PLR2004 - a gap
            text = ""
        elif noise.random() < 0.002:  # noqa: PLR2004 - a meter that sticks at zero
            text = "0.0"
        rows.append((at.strftime("%Y-%m-%dT%H:00Z"), f"{temperature:.1f}", text))
    return rows


def main() -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    for site in SITES:
        with (DATA / f"{site}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("time", "temperature_c", "energy_kwh"))
            writer.writerows(readings(site))


if __name__ == "__main__":
    main()

"""What one site's readings are worth: gaps, stuck meters, and how its demand follows the cold."""

import sys
from pathlib import Path

from readings import finish, linger, load, repaired

BASE = 17.0  # degrees C; colder hours need heat


def slope(degrees, kwh):
    """Least squares: kWh more for each degree colder."""
    cold = [max(0.0, BASE - value) for value in degrees]
    mean_cold, mean_kwh = sum(cold) / len(cold), sum(kwh) / len(kwh)
    over = sum((c - mean_cold) * (k - mean_kwh) for c, k in zip(cold, kwh))
    under = sum((c - mean_cold) ** 2 for c in cold)
    return over / under if under else 0.0


def main():
    file = Path(sys.argv[1])
    hours = load(file)
    print(f"{file.stem}: {len(hours)} hours", flush=True)
    linger()
    temperature, energy = repaired(hours)
    finish(
        {
            "site": file.stem,
            "hours": len(hours),
            "gaps": sum(kwh is None for _, kwh in hours),
            "stuck": sum(kwh == 0.0 for _, kwh in hours),
            "mean_kwh": round(sum(energy) / len(energy), 1),
            "kwh_per_degree": round(slope(temperature, energy), 2),
        }
    )


main()

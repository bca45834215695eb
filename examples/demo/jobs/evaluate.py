"""Forecasts the hours that the training has not seen, and compares with "the same as yesterday"."""

import json
import os
import sys

from readings import DAY, HELD_OUT, finish, linger, sites


def scale(values):
    mean = sum(values) / len(values)
    return mean, (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5 or 1.0


def errors(temperature, energy, model):
    """Mean absolute errors in kWh of the model and of yesterday's value, over the held-out hours."""
    known = len(energy) - HELD_OUT
    scales = {"temperature": scale(temperature[:known]), "energy": scale(energy[:known])}
    series = {"temperature": temperature, "energy": energy}
    mean, spread = scales["energy"]
    of_model = of_naive = 0.0
    for hour in range(known, len(energy)):
        forecast = 0.0
        for feature, weight in zip(model["features"], model["weights"]):
            name, lag = feature.rsplit("-", 1)
            middle, width = scales[name]
            forecast += weight * (series[name][hour - int(lag)] - middle) / width
        of_model += abs(forecast * spread + mean - energy[hour])
        of_naive += abs(energy[hour - DAY] - energy[hour])
    return of_model / HELD_OUT, of_naive / HELD_OUT


def main():
    model = json.loads(os.environ["MODEL"])
    of_site = {name: errors(*series, model) for name, series in sites(sys.argv[1]).items()}
    for name, (of_model, of_naive) in of_site.items():
        print(f"{name}: model {of_model:.2f}, yesterday {of_naive:.2f} kWh", flush=True)
    linger()
    of_model = sum(pair[0] for pair in of_site.values()) / len(of_site)
    of_naive = sum(pair[1] for pair in of_site.values()) / len(of_site)
    finish(
        {
            "model_mae": round(of_model, 2),
            "naive_mae": round(of_naive, 2),
            "improvement": round(1 - of_model / of_naive, 3),
            "hardest_site": max(of_site, key=lambda name: of_site[name][0]),
            "hours": HELD_OUT * len(of_site),
        }
    )


main()

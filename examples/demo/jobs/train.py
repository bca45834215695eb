"""Finds the few columns, out of every lag of the past week, that tell the demand of the same hour tomorrow.

Forward selection on the whole table of lags, held in memory: quick to write, and hungry. It needs some
70 MB, which is more than the playbook first allows.
"""

import sys
from operator import mul

from readings import DAY, HELD_OUT, WEEK, finish, linger, sites

FEATURES = 5


def standardised(values):
    mean = sum(values) / len(values)
    spread = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5 or 1.0
    return [(value - mean) / spread for value in values]


def dot(left, right):
    return sum(map(mul, left, right))


def table(data):
    """Column name to values, for every lag that is known a day ahead; and the target. All sites, stacked."""
    columns, target = {}, []
    for temperature, energy in data.values():
        warm, load = standardised(temperature), standardised(energy)
        end = len(load) - HELD_OUT
        target.extend(load[WEEK:end])
        for lag in range(WEEK):
            rows = range(WEEK - lag, end - lag)
            columns.setdefault(f"temperature-{lag}", []).extend(warm[row] + 0.0 for row in rows)
        for lag in range(DAY, WEEK + 1):
            rows = range(WEEK - lag, end - lag)
            columns.setdefault(f"energy-{lag}", []).extend(load[row] + 0.0 for row in rows)
    return columns, target


def solve(matrix, right):
    """Gauss elimination with pivots; the matrix is small."""
    size = len(right)
    rows = [[*line, value] for line, value in zip(matrix, right)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(size):
            if k != i:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i])]
    return [rows[i][size] / rows[i][i] for i in range(size)]


def fit(columns, target, chosen):
    matrix = [[dot(columns[a], columns[b]) for b in chosen] for a in chosen]
    return solve(matrix, [dot(columns[a], target) for a in chosen])


def select(columns, target):
    """Forward selection: each time the column that explains most of what is left."""
    chosen, weights, left = [], [], target
    for _ in range(FEATURES):
        best = max(
            (name for name in columns if name not in chosen), key=lambda name: abs(dot(columns[name], left))
        )
        chosen.append(best)
        weights = fit(columns, target, chosen)
        fitted = [sum(w * columns[n][i] for n, w in zip(chosen, weights)) for i in range(len(target))]
        left = [want - have for want, have in zip(target, fitted)]
        print(f"{best}: residual {dot(left, left) / len(left):.4f}", flush=True)
    return chosen, weights


def main():
    columns, target = table(sites(sys.argv[1]))
    print(f"{len(columns)} columns of {len(target)} rows", flush=True)
    chosen, weights = select(columns, target)
    linger()
    finish({"features": chosen, "weights": [round(weight, 4) for weight in weights], "rows": len(target)})


main()

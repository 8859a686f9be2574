"""Exact p-values where SciPy's two-sample Kolmogorov-Smirnov test gave up and fell back on the asymptotic one.

All orders of n and m values are counted in whole numbers: P = 1 - inside / C(n + m, n), where `inside` are the lattice
paths on which the difference of the distribution functions never reaches h / (n m). Standard library alone.
"""

import json
import pathlib
from fractions import Fraction
from math import comb


def inside(n, m, h, sign):
    """Paths from (0, 0) to (n, m) with sign * (i m - j n) < h at every point."""
    row = [0] * (m + 1)
    for i in range(n + 1):
        for j in range(m + 1):
            if sign * (i * m - j * n) >= h:
                row[j] = 0
            elif i == 0 and j == 0:
                row[j] = 1
            elif j > 0:
                # From (i - 1, j), which the row still holds, and from (i, j - 1).
                row[j] += row[j - 1]
    return row[m]


folder = pathlib.Path(__file__).parent.parent
rows = []
# Name, sizes, and the statistic as h / (n m), rounded from the recorded one.
for name, n, m, alternative, d in [
    ("n1000_777", 1000, 777, "less", 0.06091119691119691),
    ("n1000_777", 1000, 777, "greater", 0.09988416988416988),
    ("n5000_300", 5000, 300, "less", 0.0006),
    ("n5000_300", 5000, 300, "greater", 0.11453333333333333),
    ("int3_500", 500, 600, "greater", 0.2683333333333333),
    ("bin_800_900", 800, 900, "greater", 0.08513888888888889),
]:
    h = round(d * n * m)
    sign = 1 if alternative == "greater" else -1
    p = 1 - Fraction(inside(n, m, h, sign), comb(n + m, n))
    rows.append([name, alternative, float(p)])
(folder / "ks_exact.json").write_text(json.dumps(rows, indent=0) + "\n")

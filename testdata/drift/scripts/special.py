"""Golden values of testdata/drift/special.json: SciPy 1.17.1. Run: python special.py > special.json"""
import json, scipy
from scipy.special import smirnov
from scipy.stats import kstwo
rows = []
for n in (1, 2, 7, 30, 60, 100, 139, 140, 141, 200, 450, 500, 501, 800, 999, 1000, 1001, 1600, 5000, 20000, 100000, 500000):
    for z2 in (0.04, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.1, 2.3, 3.0, 3.9, 4.1, 6.0, 10.0, 40.0):
        d = (z2 / n) ** 0.5
        if d < 1:
            rows.append([d, n, float(kstwo.sf(d, n))])
ones = []
for n in (1, 5, 50, 300, 499, 501, 900, 3000, 40000, 1000000):
    for z2 in (1e-4, 1e-2, 0.1, 0.5, 0.9, 1.9, 2.1, 4.0, 20.0, 90.0, 150.0):
        d = (z2 / n) ** 0.5
        if d < 1:
            ones.append([d, n, float(smirnov(n, d))])
print(json.dumps({"versions": {"scipy": scipy.__version__}, "kstwo_sf": rows, "smirnov_sf": ones}))

"""testdata/drift/edges.json: NumPy 2.4.6. Run: python edges.py > edges.json"""
import json, numpy as np
def splitmix(seed, n):
    z = seed & (2**64 - 1); out = []
    for _ in range(n):
        z = (z + 0x9E3779B97F4A7C15) % 2**64
        x = z
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
        out.append(((x ^ (x >> 31)) >> 11) / 2**53)
    return out
samples = {
    "uniform": splitmix(21, 700),
    "squares": [u * u * 50 for u in splitmix(22, 333)],
    "steps": [float(int(u * 9)) for u in splitmix(23, 500)],
    "zeros": [0.0 if u < 0.6 else u for u in splitmix(24, 400)],
    "outlier": splitmix(25, 200) + [12.0],
}
cases = []
for name, values in samples.items():
    values = np.array(values)
    for rule in ("auto", "sturges", "doane", "fd", 7):
        cases.append({"sample": name, "rule": rule, "edges": np.histogram_bin_edges(values, bins=rule).tolist()})
    cases.append({"sample": name, "rule": "deciles", "edges": np.quantile(values, np.arange(11) / 10, method="inverted_cdf").tolist()})
print(json.dumps({"versions": {"numpy": np.__version__}, "cases": cases}))

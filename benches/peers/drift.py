"""Times the peers of `cargo bench --bench drift`: CPU time, median of 5 (fewer where slow).

pip install numpy scipy river
"""
import statistics
import time

import numpy as np
import scipy.stats
from river import drift

rng = np.random.default_rng(1)


def cpu(run, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return statistics.median(times)


errors = (rng.uniform(size=20_000) < 0.1).astype(int).tolist()
detectors = {
    "ADWIN clock 32": lambda: drift.ADWIN(clock=32),
    "ADWIN clock 1": lambda: drift.ADWIN(clock=1),
    "DDM": drift.binary.DDM,
    "EDDM": drift.binary.EDDM,
    "FHDDM": drift.binary.FHDDM,
    "HDDM_A": drift.binary.HDDMA,
    "HDDM_W": drift.binary.HDDMW,
    "KSWIN": lambda: drift.KSWIN(seed=1),
    "Page-Hinkley": drift.PageHinkley,
}
for name, make in detectors.items():
    values = errors[:2_000] if name == "KSWIN" else errors

    def run():
        detector = make()
        for value in values:
            detector.update(value)

    print(f"river {name}: {cpu(run, 3) / len(values) * 1e9:.0f} ns an update")

for n in [1_000, 100_000, 1_000_000]:
    a, b = rng.uniform(size=n), rng.uniform(size=n + 1)
    took = cpu(lambda: scipy.stats.ks_2samp(a, b, method="auto"), 3)
    print(f"scipy ks_2samp {n}: {took * 1e3:.2f} ms")
for d, n in [(0.1, 100), (0.02, 5_000), (0.003, 500_000)]:
    print(f"scipy kstwo.sf n {n}: {cpu(lambda: scipy.stats.kstwo.sf(d, n), 9) * 1e6:.0f} us")

values = rng.uniform(size=1_000_000)
reference = rng.uniform(size=10_000)
edges = np.quantile(reference, np.linspace(0, 1, 11))[1:-1]
expected = np.bincount(np.searchsorted(edges, reference), minlength=10) / len(reference)


def psi():
    actual = np.bincount(np.searchsorted(edges, values), minlength=10) / len(values)
    return np.sum((actual - expected) * np.log(actual / expected))


print(f"numpy PSI of 1e6 values, deciles: {cpu(psi) * 1e3:.2f} ms")

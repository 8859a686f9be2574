"""Times the peers of `cargo bench --bench evaluation`: CPU milliseconds, median of 5 (fewer where slow).

pip install numpy scipy scikit-learn fairlearn
"""
import statistics
import time
import warnings

import numpy as np
import scipy.stats
from fairlearn.metrics import equalized_odds_difference
from sklearn.metrics import log_loss, ndcg_score, roc_auc_score

warnings.simplefilter("ignore")
rng = np.random.default_rng(1)


def cpu_ms(name, run, repeats=5):
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append((time.process_time() - start) * 1e3)
    print(f"{name}: {statistics.median(times):.1f} ms")


n = 1_000_000
labels = rng.uniform(size=n) < 0.3
scores = 0.3 * labels + 0.7 * rng.uniform(size=n)
cpu_ms("scikit-learn roc_auc_score 1e6", lambda: roc_auc_score(labels, scores))
cpu_ms("scikit-learn log_loss 1e6", lambda: log_loss(labels, scores))

relevance = rng.integers(0, 4, size=(100_000, 100)).astype(float)
ranked = rng.uniform(size=(100_000, 100))
cpu_ms("scikit-learn ndcg_score k=10 1e5x100", lambda: ndcg_score(relevance, ranked, k=10), 1)

facets = rng.integers(0, 5, size=100_000)
y, p = rng.integers(0, 2, size=(2, 100_000))
cpu_ms("fairlearn equalized_odds_difference 1e5, 5 groups",
       lambda: equalized_odds_difference(y, p, sensitive_features=facets))

values = scores[:100_000]
cpu_ms("scipy bootstrap of the mean 1e5x200",
       lambda: scipy.stats.bootstrap((values,), np.mean, n_resamples=200, method="percentile", batch=10), 3)

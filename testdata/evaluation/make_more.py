"""Writes more.json: expected values beside metrics.json. Needs numpy, scipy, scikit-learn, statsmodels."""
import json, sys, warnings
import numpy as np, scipy, scipy.stats as st, sklearn, statsmodels
from sklearn import metrics as m
from sklearn.isotonic import IsotonicRegression
from sklearn.calibration import _sigmoid_calibration
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

warnings.simplefilter("ignore")
rng = np.random.default_rng(20261121)
cases = []


def add(name, input, expected):
    cases.append({"name": name, "suite": "more", "input": input, "expected": expected})


n = 120
y = rng.integers(0, 2, n)
s = np.round(np.clip(y * 0.2 + rng.uniform(0, 0.8, n), 0, 1), 2)
w = np.round(rng.uniform(0, 3, n), 2)
w[::11] = 0
rows = {"y_true": y.tolist(), "y_score": s.tolist(), "sample_weight": w.tolist()}
p = (s >= 0.4).astype(int)
add("binary_weighted", rows | {"threshold": 0.4}, {
    "roc_auc": m.roc_auc_score(y, s, sample_weight=w),
    "average_precision": m.average_precision_score(y, s, sample_weight=w),
    "log_loss": m.log_loss(y, s, sample_weight=w),
    "brier": m.brier_score_loss(y, s, sample_weight=w),
    "mcc": m.matthews_corrcoef(y, p, sample_weight=w),
    "kappa": m.cohen_kappa_score(y, p, sample_weight=w),
    "f2": m.fbeta_score(y, p, beta=2, sample_weight=w),
    "f0.5": m.fbeta_score(y, p, beta=0.5, sample_weight=w),
    "balanced_accuracy": m.balanced_accuracy_score(y, p, sample_weight=w),
})
add("ks", {"y_true": y.tolist(), "y_score": s.tolist()},
    float(st.ks_2samp(s[y == 1], s[y == 0]).statistic))

t = np.round(rng.normal(3, 2, 60), 2)
q = np.round(t + rng.normal(0.3, 1, 60), 2)
v = np.round(rng.uniform(0, 2, 60), 1)
add("regression_weighted", {"y_true": t.tolist(), "y_pred": q.tolist(), "sample_weight": v.tolist()}, {
    "r2": m.r2_score(t, q, sample_weight=v),
    "explained_variance": m.explained_variance_score(t, q, sample_weight=v),
    "mape": m.mean_absolute_percentage_error(t, q, sample_weight=v),
    "median_ae": m.median_absolute_error(t, q, sample_weight=v),
    "d2_abs": m.d2_absolute_error_score(t, q, sample_weight=v),
    "d2_pinball_0.9": m.d2_pinball_score(t, q, sample_weight=v, alpha=0.9),
    "pinball_0.1": m.mean_pinball_loss(t, q, sample_weight=v, alpha=0.1),
})

rel = rng.integers(0, 4, (20, 30)).astype(float)
score = np.round(rng.uniform(0, 1, (20, 30)), 1)
for k in (1, 5, 10, 30):
    add(f"ndcg/{k}", {"rel": rel.tolist(), "score": score.tolist(), "k": k}, m.ndcg_score(rel, score, k=k))

x = np.round(rng.normal(0, 1, 50), 1)
z = (rng.uniform(0, 1, 50) < 1 / (1 + np.exp(-2 * x))).astype(int)
u = np.round(rng.uniform(0.1, 2, 50), 2)
at = np.linspace(-4, 4, 33)
iso = IsotonicRegression(out_of_bounds="clip").fit(x, z, sample_weight=u)
add("isotonic", {"score": x.tolist(), "label": z.tolist(), "sample_weight": u.tolist(), "at": at.tolist()},
    iso.predict(at).tolist())
a, b = _sigmoid_calibration(x, z)
add("platt", {"score": x.tolist(), "label": z.tolist()}, {"a": a, "b": b, "tolerance": 1e-5})
a, b = _sigmoid_calibration(x, z, sample_weight=u)
add("platt_weighted", {"score": x.tolist(), "label": z.tolist(), "sample_weight": u.tolist()},
    {"a": a, "b": b, "tolerance": 1e-5})

left, right = t[:25], q[:25]
test = st.ttest_rel(left, right)
ci = test.confidence_interval(0.9)
add("paired_t", {"a": left.tolist(), "b": right.tolist()},
    {"difference": float(np.mean(left - right)), "p": float(test.pvalue), "ci": [float(ci.low), float(ci.high)]})
for won, lost in ((3, 12), (12, 3), (5, 5), (0, 0), (0, 7), (41, 60)):
    add(f"mcnemar/{won}/{lost}", {"won": won, "lost": lost}, float(mcnemar([[9, won], [lost, 4]], exact=True).pvalue))

other = np.round(np.clip(y * 0.1 + rng.uniform(0, 0.9, n), 0, 1), 2)
kernel = lambda a, b: (a[:, None] > b[None, :]) + 0.5 * (a[:, None] == b[None, :])
parts = [kernel(c[y == 1], c[y == 0]) for c in (s, other)]
v10 = [k.mean(1) for k in parts]
v01 = [k.mean(0) for k in parts]
gap = parts[0].mean() - parts[1].mean()
var = np.var(v10[0] - v10[1], ddof=1) / len(v10[0]) + np.var(v01[0] - v01[1], ddof=1) / len(v01[0])
add("delong_paired", {"y_true": y.tolist(), "a": s.tolist(), "b": other.tolist()},
    {"difference": float(gap), "var": float(var), "p": float(2 * st.norm.sf(abs(gap) / var**0.5))})

views = rng.integers(1, 20, 40)
clicks = rng.binomial(views, 0.2)
r = clicks.sum() / views.sum()
c = np.cov(clicks, views, ddof=1)
add("delta_method", {"x": clicks.tolist(), "y": views.tolist()},
    {"ratio": float(r), "se": float(np.sqrt((c[0, 0] - 2 * r * c[0, 1] + r * r * c[1, 1]) / 40) / views.mean())})

for x0, n0 in ((0, 1), (1, 1), (7, 9), (250, 1000)):
    for method in ("normal", "wilson", "agresti_coull", "jeffreys", "beta"):
        for alpha in (0.05, 0.01):
            low, high = proportion_confint(x0, n0, alpha=alpha, method=method)
            add(f"proportion/{method}/{x0}/{n0}/{alpha}", {"x": x0, "n": n0, "alpha": alpha, "method": method},
                [float(low), float(high)])

json.dump({"python": sys.version.split()[0],
           "versions": {k.__name__: k.__version__ for k in (np, scipy, sklearn, statsmodels)},
           "cases": cases}, open("more.json", "w"))

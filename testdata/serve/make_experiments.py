"""Writes the two-arm comparisons that rollouts are held against: experiments.golden.json.

    python -m venv venv
    venv/bin/pip install gbstats==0.8.0 spotify-confidence==4.1.0
    venv/bin/python make_experiments.py

Each experiment is a list of outcomes with counts for both arms, so that the file is small and exact. `growthbook` is
the two-sided asymptotic confidence sequence of gbstats at level 0.1, tuned to 1000 rows; `spotify` the fixed-horizon
z-interval of spotify-confidence at level 0.1. `families` are a control and several variants: the one-sided p-values
of spotify-confidence that a variant is better, at one look, and its Bonferroni and Holm corrections. `splits` are counts of two arms with the share that was wanted, and the
p-value of gbstats' check for a sample ratio mismatch.
"""

import json
import pathlib
import warnings
from importlib.metadata import version

import numpy as np
import pandas
import spotify_confidence
from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
from gbstats.models.statistics import SampleMeanStatistic
from gbstats.utils import check_srm

ALPHA = 0.1
HERE = pathlib.Path(__file__).parent


def outcomes(rng, rows, kind, shift):
    """Outcomes with counts: clicks, or a skewed amount on a grid."""
    if kind == "click":
        yes = int(rng.binomial(rows, np.clip(0.2 + shift, 0.0, 1.0)))
        return [[0.0, rows - yes], [1.0, yes]]
    values = np.round(rng.gamma(2.0, 1.0, rows) * 4) / 4 + shift
    found, counts = np.unique(values, return_counts=True)
    return [[float(value), int(count)] for value, count in zip(found, counts)]


def moments(arm):
    values, counts = np.array(arm).T
    return int(counts.sum()), float((values * counts).sum()), float((values**2 * counts).sum())


def experiment(rng, rows, kind, shift):
    arms = [outcomes(rng, rows[0], kind, 0.0), outcomes(rng, rows[1], kind, shift)]
    sums = [moments(arm) for arm in arms]
    statistics = [SampleMeanStatistic(n=n, sum=total, sum_squares=squares) for n, total, squares in sums]
    config = SequentialConfig(alpha=ALPHA, difference_type="absolute", sequential_tuning_parameter=1000)
    growthbook = SequentialTwoSidedTTest(*statistics, config)
    frame = pandas.DataFrame(sums, columns=["n", "sum", "squares"]).assign(arm=["control", "treatment"])
    spotify = spotify_confidence.ZTest(
        frame,
        numerator_column="sum",
        numerator_sum_squares_column="squares",
        denominator_column="n",
        categorical_group_columns="arm",
        interval_size=1 - ALPHA,
    ).difference(level_1="control", level_2="treatment", absolute=True)
    return {
        "arms": arms,
        "growthbook": {
            "difference": float(growthbook.point_estimate),
            "interval": [float(x) for x in growthbook.confidence_interval],
        },
        "spotify": {
            "difference": float(spotify["difference"].iloc[0]),
            "interval": [float(spotify["ci_lower"].iloc[0]), float(spotify["ci_upper"].iloc[0])],
        },
    }


def family(rng, rows, kind, shifts):
    arms = [outcomes(rng, rows, kind, shift) for shift in [0.0, *shifts]]
    names = [f"arm {index}" for index in range(len(arms))]
    frame = pandas.DataFrame([moments(arm) for arm in arms], columns=["n", "sum", "squares"]).assign(arm=names)

    def better(correction):
        """P-values of "is larger than the control", raw and corrected."""
        found = spotify_confidence.ZTest(
            frame,
            numerator_column="sum",
            numerator_sum_squares_column="squares",
            denominator_column="n",
            categorical_group_columns="arm",
            interval_size=1 - ALPHA,
            correction_method=correction,
        ).multiple_difference(
            level=names[0], level_as_reference=True, absolute=True, non_inferiority_margins=(None, "increase")
        )
        return [[float(p) for p in found[column]] for column in ["p-value", "adjusted p-value"]]

    p_values, bonferroni = better("bonferroni")
    _, holm = better("holm")
    return {"arms": arms, "p_values": p_values, "bonferroni": bonferroni, "holm": holm}


def split(rng, total, wanted, true):
    treated = int(rng.binomial(total, true))
    counts = [total - treated, treated]
    return {"wanted": wanted, "counts": counts, "p_value": float(check_srm(counts, [1 - wanted, wanted]))}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(1)
    experiments = [
        experiment(rng, rows, kind, sign * factor * (0.4 if kind == "click" else 1.4) * sum(1 / n for n in rows) ** 0.5)
        for rows in [(250, 250), (1000, 1000), (4000, 4000), (900, 100), (4500, 500)]
        for kind in ["click", "amount"]
        for factor, sign in [(0, 1), (1, 1), (2, 1), (4, 1), (6, 1), (2, -1), (6, -1)]
    ]
    splits = [
        split(rng, total, wanted, wanted * factor)
        for total in [500, 5000, 50000]
        for wanted in [0.1, 0.5]
        for factor in [1.0, 1.0, 1.0, 1.05, 1.2, 1.5, 0.7]
    ]
    families = [
        family(rng, rows, kind, [factor * (0.4 if kind == "click" else 1.4) * (2 / rows) ** 0.5 for factor in factors])
        for rows in [500, 2000]
        for kind in ["click", "amount"]
        for factors in [(0, 0), (0, 3), (2, 6), (0, 0, 0, 0), (0, 2, 3, 5), (4, 5, 6, 7), (-3, 0, 6, 6)]
    ]
    record = {
        "oracle": "gbstats, spotify-confidence",
        "versions": {name: version(name) for name in ["gbstats", "spotify-confidence", "numpy", "pandas", "scipy"]},
        "alpha": ALPHA,
        "experiments": experiments,
        "splits": splits,
        "families": families,
    }
    (HERE / "experiments.golden.json").write_text(json.dumps(record) + "\n")

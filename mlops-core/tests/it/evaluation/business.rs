//! Rates and revenue: the delta method against its formula, and merging.

use mlops_core::evaluation::MetricState;
use mlops_core::evaluation::business::{BusinessMetrics, Ratio, UserOutcome};
use proptest::prelude::*;

use super::oracle::cases;

#[test]
fn the_delta_method_agrees_with_its_formula() {
    for case in cases("delta_method") {
        let mut ratio = Ratio::default();
        for (x, y) in case.numbers("x").into_iter().zip(case.numbers("y")) {
            ratio.add(x, y).unwrap();
        }
        case.expect_field("ratio", ratio.value());
        case.expect_field("se", ratio.std_error());
    }
}

#[test]
fn bad_users_are_refused_and_empty_sums_undefined() {
    let mut metrics = BusinessMetrics::default();
    assert!(metrics.metrics().is_empty());
    for bad in [
        UserOutcome { impressions: 1, clicks: 2, conversions: 0, revenue: 0.0 },
        UserOutcome { impressions: 2, clicks: 1, conversions: 2, revenue: 0.0 },
        UserOutcome { impressions: 2, clicks: 1, conversions: 1, revenue: f64::NAN },
    ] {
        assert!(metrics.push(&bad).is_err());
    }
    assert_eq!(metrics, BusinessMetrics::default());
    metrics.push(&UserOutcome { impressions: 4, clicks: 0, conversions: 0, revenue: -3.0 }).unwrap();
    let found = metrics.metrics();
    assert_eq!(found["click_through_rate"].value, 0.0);
    assert!(!found.contains_key("conversion_rate"));
    assert_eq!((found["revenue_per_user"].value, found["revenue_per_user"].std_error), (-3.0, None));
    assert!(Ratio::default().add(f64::INFINITY, 1.0).is_err());
}

proptest! {
    #[test]
    fn merging_any_sharding_equals_the_whole(
        users in prop::collection::vec((0_u64..9, 0_u64..9, 0_u64..9, -5.0..50.0_f64), 1..40),
        shards in 1..4_usize,
    ) {
        let users: Vec<UserOutcome> = users
            .into_iter()
            .map(|(conversions, clicks, impressions, revenue)| UserOutcome {
                impressions: impressions + clicks + conversions,
                clicks: clicks + conversions,
                conversions,
                revenue,
            })
            .collect();
        let state = |users: &mut dyn Iterator<Item = &UserOutcome>| {
            let mut metrics = BusinessMetrics::default();
            users.for_each(|user| metrics.push(user).unwrap());
            metrics
        };
        let whole = state(&mut users.iter());
        let mut merged = state(&mut std::iter::empty());
        (0..shards).for_each(|shard| merged.merge(&state(&mut users.iter().skip(shard).step_by(shards))).unwrap());
        prop_assert_eq!(merged.rows(), whole.rows());
        for (name, metric) in whole.metrics() {
            let there = merged.metrics()[&name];
            prop_assert!((there.value - metric.value).abs() < 1e-9);
            prop_assert_eq!(there.std_error.is_some(), metric.std_error.is_some());
        }
    }
}

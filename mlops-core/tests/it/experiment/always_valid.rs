//! The claim of the name: 10 000 A/A experiments, each peeked at after every observation. Each test also sees an
//! effect, since one that never rejects would pass too. The sizes suit a debug build: 60 to 800 rows a run.

use mlops_core::Seed;
use mlops_core::experiment::sequence::{
    AsymptoticMean, Betting, Bounded, PredictableMixture, RateSequence, Sequence, difference,
};
use mlops_core::experiment::{
    Allocation, Alternative, Arm, MeanDifference, Moments, Proportion, RateDifference, SampleRatio, Scale,
    TwoArm,
};
use rand::{Rng, RngExt};

const EXPERIMENTS: usize = 10_000;

/// How many of the experiments ever fall to alpha.
fn ever_rejected(name: &str, mut experiment: impl FnMut(&mut dyn Rng) -> bool) -> f64 {
    let mut rng = Seed::new(20_261_121).derive(name).rng();
    let rejected = (0..EXPERIMENTS).filter(|_| experiment(&mut rng)).count();
    rejected as f64 / EXPERIMENTS as f64
}

type Law = fn(&mut dyn Rng) -> f64;

/// A sum of uniforms: as good as normal, and quick.
fn near_normal(rng: &mut dyn Rng) -> f64 {
    rng.random::<f64>() + rng.random::<f64>() + rng.random::<f64>() + rng.random::<f64>()
}

fn exponential(rng: &mut dyn Rng) -> f64 {
    -rng.random::<f64>().max(1e-300).ln()
}

fn log_normal(rng: &mut dyn Rng) -> f64 {
    let (radius, angle) = (exponential(rng), std::f64::consts::TAU * rng.random::<f64>());
    ((2.0 * radius).sqrt() * angle.cos()).exp()
}

/// Revenue: nothing as a rule, and a skewed amount from three visitors in ten.
fn revenue(rng: &mut dyn Rng) -> f64 {
    if rng.random::<f64>() < 0.3 { log_normal(rng) } else { 0.0 }
}

/// Whether the arms' means are two standard errors apart. No always-valid test rejects before a fixed-sample one
/// would, so that only such looks are worth the cost of the test itself.
fn may_reject(arms: &TwoArm<Moments>) -> bool {
    let of = |arm: &Moments| Some((arm.mean()?, arm.sample_variance()? / arm.rows() as f64));
    let Some(((c, vc), (t, vt))) = of(&arms.control).zip(of(&arms.treatment)) else { return false };
    (t - c).powi(2) > 4.0 * (vc + vt)
}

/// Whether the test ever rejects, looking after every row; the treatment's outcomes are longer by `effect`.
fn ever(
    test: &MeanDifference,
    rows: usize,
    rng: &mut dyn Rng,
    share: impl Fn(&TwoArm<Moments>) -> f64,
    outcome: impl Fn(&mut dyn Rng) -> f64,
    effect: f64,
) -> bool {
    let mut arms = TwoArm::<Moments>::default();
    (0..rows).any(|_| {
        let arm = if rng.random::<f64>() < share(&arms) { Arm::Treatment } else { Arm::Control };
        let more = if arm == Arm::Treatment { effect } else { 0.0 };
        arms.record(arm, outcome(rng) + more).unwrap();
        may_reject(&arms) && test.compare(&arms).unwrap().rejects()
    })
}

/// At the defaults, for outcomes from harmless to skewed and mostly nothing, with a small treatment.
#[test]
fn means_at_the_defaults() {
    let laws: [(&str, Law, f64); 4] = [
        ("near normal", near_normal, 0.6),
        ("exponential", exponential, 1.0),
        ("log-normal", log_normal, 4.0),
        ("revenue", revenue, 3.0),
    ];
    for allocation in [Allocation::Fixed, Allocation::Adaptive] {
        let test = MeanDifference { allocation, ..Default::default() };
        for (name, law, effect) in laws {
            let rate = ever_rejected(name, |rng| ever(&test, 500, rng, |_| 0.3, law, 0.0));
            assert!(rate <= test.alpha, "{allocation:?} {name} {rate}");
            let mut rng = Seed::new(7).derive(name).rng();
            let seen = (0..50).filter(|_| ever(&test, 1500, &mut rng, |_| 0.3, law, effect)).count();
            assert!(seen >= 40, "a test that never rejects proves nothing: {allocation:?} {name} {seen}");
        }
    }
}

/// What the guard is for: the bare formula is wrong about skewed outcomes in a small arm.
#[test]
fn without_the_guard_skewed_outcomes_break_alpha() {
    let guarded = MeanDifference { allocation: Allocation::Fixed, ..Default::default() };
    let bare = MeanDifference { skewness_guard: false, warm_up_rows: 30, ..guarded };
    let rate = |test: &MeanDifference| {
        let mut rng = Seed::new(11).rng();
        let rejected = (0..500).filter(|_| ever(test, 1000, &mut rng, |_| 0.1, revenue, 0.0)).count();
        rejected as f64 / 500.0
    };
    assert!(rate(&bare) > 0.08);
    assert!(rate(&guarded) < 0.03);
}

#[test]
fn means_one_sided() {
    for alternative in [Alternative::Greater, Alternative::Less] {
        let scale = Scale::Rows(30.0);
        let test = MeanDifference { allocation: Allocation::Fixed, alternative, scale, ..Default::default() };
        let rate = ever_rejected("one-sided", |rng| ever(&test, 400, rng, |_| 0.5, near_normal, 0.0));
        assert!(rate <= test.alpha, "{alternative:?} {rate}");
        assert!(rate > 0.1 * test.alpha, "{alternative:?} {rate}");
    }
}

/// The treatment gets more of the traffic while it looks better, which no fixed allocation allows.
#[test]
fn means_with_adaptive_allocation_and_skewed_outcomes() {
    let test = MeanDifference { scale: Scale::Rows(100.0), ..Default::default() };
    let greedy =
        |arms: &TwoArm<Moments>| if arms.treatment.mean() >= arms.control.mean() { 0.8 } else { 0.2 };
    let rate = ever_rejected("adaptive", |rng| ever(&test, 500, rng, greedy, exponential, 0.0));
    assert!(rate <= test.alpha, "{rate}");
    let mut rng = Seed::new(5).rng();
    let seen = (0..50).filter(|_| ever(&test, 1000, &mut rng, greedy, exponential, 1.0)).count();
    assert!(seen >= 40, "{seen}");
}

#[test]
fn rare_proportions_with_a_small_treatment() {
    for allocation in [Allocation::Fixed, Allocation::Adaptive] {
        let test = MeanDifference { allocation, scale: Scale::Rows(100.0), ..Default::default() };
        let ever = |rng: &mut dyn Rng, rows: usize, treated: f64| {
            let mut arms = TwoArm::<Proportion>::default();
            (0..rows).any(|_| {
                let arm = if rng.random::<f64>() < 0.3 { Arm::Treatment } else { Arm::Control };
                let rate = if arm == Arm::Treatment { treated } else { 0.1 };
                arms.record(arm, rng.random::<f64>() < rate);
                let moments = TwoArm::new(Moments::from(arms.control), Moments::from(arms.treatment));
                may_reject(&moments) && test.compare(&arms).unwrap().rejects()
            })
        };
        let rate = ever_rejected("proportions", |rng| ever(rng, 800, 0.1));
        assert!(rate <= test.alpha, "{allocation:?} {rate}");
        let mut rng = Seed::new(6).rng();
        let seen = (0..50).filter(|_| ever(&mut rng, 1500, 0.3)).count();
        assert!(seen >= 40, "{allocation:?} {seen}");
    }
}

#[test]
fn sample_ratio() {
    let plan = SampleRatio::new(&[0.5, 0.5]).unwrap().with_concentration(50.0).unwrap();
    let rate = ever_rejected("sample ratio", |rng| {
        let mut counts = [0, 0];
        (0..400).any(|_| {
            counts[usize::from(rng.random::<bool>())] += 1;
            plan.always_valid(&counts).unwrap() <= 0.05
        })
    });
    assert!(rate <= 0.05, "{rate}");
    assert!(rate > 0.01, "{rate}");
}

/// The worst case for asymptotics: a rare event, a treatment that is small and grows while it looks good.
#[test]
fn exact_rates_with_adaptive_allocation() {
    for alternative in [Alternative::TwoSided, Alternative::Greater] {
        let test = RateDifference { alternative, ..Default::default() };
        let ever = |rng: &mut dyn Rng, treated: f64| {
            let mut arms = TwoArm::<Proportion>::default();
            (0..120).any(|_| {
                let share = if arms.treatment.rate() > arms.control.rate() { 0.5 } else { 0.1 };
                let arm = if rng.random::<f64>() < share { Arm::Treatment } else { Arm::Control };
                arms.record(arm, rng.random::<f64>() < if arm == Arm::Treatment { treated } else { 0.05 });
                test.log_e_value(&arms).unwrap() >= -test.alpha.ln()
            })
        };
        let rate = ever_rejected("exact rates", |rng| ever(rng, 0.05));
        assert!(rate <= test.alpha, "{alternative:?} {rate}");
        let mut rng = Seed::new(8).rng();
        let seen = (0..50).filter(|_| ever(&mut rng, 0.6)).count();
        assert!(seen >= 40, "{alternative:?} {seen}");
    }
}

/// Whether a sequence ever rejects a mean of a value that is mostly small and sometimes 1, .145 on average.
fn rejects_mean(mut sequence: impl Sequence, null: f64, rows: usize, rng: &mut dyn Rng) -> bool {
    (0..rows).any(|_| {
        sequence.push(if rng.random::<f64>() < 0.1 { 1.0 } else { 0.1 * rng.random::<f64>() }).unwrap();
        sequence.compare(null).unwrap().rejects()
    })
}

/// Every run rejects a mean that is far off.
fn sees(sequence: &(impl Sequence + Clone), rows: usize) -> bool {
    let mut rng = Seed::new(9).rng();
    (0..20).all(|_| rejects_mean(sequence.clone(), 0.6, rows, &mut rng))
}

#[test]
fn bounded_sequences() {
    let settings = Bounded::default();
    let empirical = PredictableMixture::empirical_bernstein(settings).unwrap();
    let hoeffding = PredictableMixture::hoeffding(settings).unwrap();
    for (name, sequence) in [("empirical-Bernstein", empirical), ("Hoeffding", hoeffding)] {
        let rate = ever_rejected(name, |rng| rejects_mean(sequence, 0.145, 150, rng));
        assert!(rate <= settings.alpha, "{name} {rate}");
        assert!(sees(&sequence, 300), "{name}");
    }
}

/// Twenty steps: .145 lies between two candidates, so the claim includes the rounding to the grid.
#[test]
fn betting() {
    for alternative in [Alternative::TwoSided, Alternative::Greater] {
        let settings = Bounded { alternative, ..Default::default() };
        let sequence = Betting::new(settings, 20).unwrap();
        let rate = ever_rejected("betting", |rng| rejects_mean(sequence.clone(), 0.145, 60, rng));
        assert!(rate <= settings.alpha, "{alternative:?} {rate}");
    }
}

#[test]
fn betting_sees_a_mean_that_is_off() {
    assert!(sees(&Betting::new(Bounded::default(), 20).unwrap(), 100));
}

#[test]
fn rates() {
    let test = RateSequence { narrowest_at: 50.0, ..Default::default() };
    let rate = ever_rejected("rates", |rng| {
        let mut counts = Proportion::new();
        (0..60).any(|_| {
            counts.push(rng.random::<f64>() < 0.2);
            !test.interval(&counts).unwrap().contains(0.2)
        })
    });
    assert!(rate <= test.alpha, "{rate}");
    assert!(rate > 0.1 * test.alpha, "{rate}");
}

#[test]
fn one_sided_rates() {
    for (alternative, rate) in [(Alternative::Greater, 0.2), (Alternative::Less, 0.8)] {
        let test = RateSequence { narrowest_at: 50.0, alternative, ..Default::default() };
        let rejected = ever_rejected("one-sided rates", |rng| {
            let mut counts = Proportion::new();
            (0..60).any(|_| {
                counts.push(rng.random::<f64>() < rate);
                let (seen, trials) = (counts.rate().unwrap(), counts.trials() as f64);
                // A fixed-sample test is sharper at one look: without it there is nothing to see.
                let may_reject = (seen - rate).abs() > 1.6 * (rate * (1.0 - rate) / trials).sqrt();
                may_reject && test.compare(&counts, rate).unwrap().rejects()
            })
        });
        assert!(rejected <= test.alpha && rejected > 0.2 * test.alpha, "{alternative:?} {rejected}");
    }
}

#[test]
fn differences_of_sequences() {
    let settings = Bounded { alpha: 0.1, ..Default::default() };
    let empty = PredictableMixture::empirical_bernstein(settings).unwrap();
    let ever = |rows: usize, effect: f64, rng: &mut dyn Rng| {
        let mut arms = TwoArm::new(empty, empty);
        (0..rows).any(|_| {
            let (arm, mean) = match rng.random::<f64>() < 0.5 {
                true => (Arm::Treatment, 0.3 + effect),
                false => (Arm::Control, 0.3),
            };
            arms.record(arm, f64::from(u8::from(rng.random::<f64>() < mean))).unwrap();
            difference(&arms, 0.0).unwrap().rejects()
        })
    };
    // The levels of the arms add up to .2, and are both needed at once: far fewer reject.
    let mut rng = Seed::new(20_261_122).rng();
    let rejected = (0..1000).filter(|_| ever(60, 0.0, &mut rng)).count();
    assert!(rejected <= 200, "{rejected} of 1000");
    assert!((0..20).all(|_| ever(2000, 0.5, &mut rng)));
}

#[test]
fn asymptotic_means_at_the_defaults() {
    let laws: [(&str, Law, f64); 3] = [
        ("near normal", near_normal, 2.0),
        ("exponential", exponential, 1.0),
        ("log-normal", log_normal, 0.5_f64.exp()),
    ];
    for (name, law, mean) in laws {
        let test = AsymptoticMean { null: mean, ..Default::default() };
        let ever = |test: &AsymptoticMean, rows: usize, rng: &mut dyn Rng| {
            let mut seen = Moments::new();
            (0..rows).any(|_| {
                seen.push(law(rng)).unwrap();
                let of_mean = seen.sample_variance().map(|variance| variance / seen.rows() as f64);
                let gap = seen.mean().map(|mean| (mean - test.null).powi(2));
                gap > of_mean.map(|v| 4.0 * v) && test.compare(&seen).unwrap().rejects()
            })
        };
        let rate = ever_rejected(name, |rng| ever(&test, 600, rng));
        assert!(rate <= test.alpha, "{name} {rate}");
        let mut rng = Seed::new(10).rng();
        let off = AsymptoticMean { null: 3.0 * mean, ..test };
        assert!((0..20).all(|_| ever(&off, 2000, &mut rng)), "{name}");
    }
}

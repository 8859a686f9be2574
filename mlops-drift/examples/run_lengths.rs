//! Prints the tables of calibrated settings, their run lengths and their delays.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use mlops_core::Seed;
use mlops_drift::detector::calibrate::mean_delay;
use mlops_drift::detector::{Calibration, DetectorKind, Stationary};

fn main() -> mlops_drift::Result<()> {
    use DetectorKind::*;
    for (calm, risen) in [(0.1, 0.2), (0.01, 0.03)] {
        println!("//! Errors at a rate of {calm} that rises to {risen}:\n//!");
        let kinds = [Adwin, Cusum, Ddm, Ecdd, Eddm, Fhddm, Gma, HddmA, HddmW, PageHinkley, Rddm, Stepd];
        table(&kinds, Stationary::ErrorRate(calm), Stationary::ErrorRate(risen))?;
    }
    println!("//! Normal numbers whose mean moves by one standard deviation:\n//!");
    table(&[Adwin, Cusum, Gma, Kswin, PageHinkley], Stationary::Normal(1.0), Stationary::NormalAt(1.0, 1.0))
}

fn table(kinds: &[DetectorKind], calm: Stationary, risen: Stationary) -> mlops_drift::Result<()> {
    println!("//! | detector | setting | updates an alarm | in the next 10 000 | delay |");
    println!("//! |---|---|---|---|---|");
    for kind in kinds {
        match Calibration::new(*kind, calm, 10_000.0, Seed::new(7)).run() {
            Ok(found) => {
                let delay = mean_delay(&found.detector, (calm, risen), 2_000, 400, Seed::new(7))?;
                let missed = if delay.missed > 0.0 {
                    format!(", {:.1} % missed", 100.0 * delay.missed)
                } else {
                    String::new()
                };
                println!(
                    "//! | `{kind:?}` | {:.4e} | {:.0} +- {:.0} | {:.0} | {:.0}{missed} |",
                    found.setting, found.run_length, found.standard_error, found.later_run_length, delay.mean
                );
            }
            Err(error) => println!("//! | `{kind:?}` | {error} | | | |"),
        }
    }
    println!("//!");
    Ok(())
}

//! Prints a table of calibrated settings, their run lengths and their delays, for errors at a rate of 0.1.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use mlops_core::Seed;
use mlops_drift::detector::calibrate::mean_delay;
use mlops_drift::detector::{Calibration, DetectorKind, Stationary};

fn main() -> mlops_drift::Result<()> {
    use DetectorKind::*;
    let (calm, risen) = (Stationary::ErrorRate(0.1), Stationary::ErrorRate(0.2));
    for kind in [Adwin, Cusum, Ddm, Ecdd, Eddm, Fhddm, Gma, HddmA, HddmW, PageHinkley, Rddm, Stepd] {
        match Calibration::new(kind, calm, 10_000.0, Seed::new(7)).run() {
            Ok(found) => {
                let delay = mean_delay(&found.detector, (calm, risen), 2_000, 400, Seed::new(7))?;
                let (setting, length, error) = (found.setting, found.run_length, found.standard_error);
                println!("//! | `{kind:?}` | {setting:.4e} | {length:.0} +- {error:.0} | {delay:.0} |");
            }
            Err(error) => println!("//! | `{kind:?}` | {error} | | |"),
        }
    }
    Ok(())
}

use std::io::Write;

use crate::{closed_loop, replayable};

#[test]
#[cfg_attr(not(feature = "ort"), ignore = "ONNX Runtime is left out: `cargo xtask test` brings it")]
#[allow(clippy::disallowed_methods, reason = "the test command tells where the library is")]
fn our_kernels_and_onnx_runtime_tell_the_same_story() {
    let Ok(library) = std::env::var("ORT_DYLIB_PATH") else {
        // Not by a macro, whose output a passing test keeps to itself.
        let what = "left out: ONNX Runtime, since ORT_DYLIB_PATH is not set (`cargo xtask test` fetches it)";
        writeln!(std::io::stderr(), "{what}").unwrap();
        return;
    };
    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let run = |index: usize, arguments: &[&str]| {
        replayable(closed_loop(states[index].path(), &[&["--sessions", "200"], arguments].concat()).unwrap())
    };
    let native = run(0, &["--runtime", "native"]);
    let ort = run(1, &["--runtime", "ort", "--ort-library", &library]);
    assert_eq!(native.versions, ort.versions);
    assert_eq!(native.promotions.len(), ort.promotions.len());
    assert_eq!(native.months.len(), ort.months.len());
    for (a, b) in native.months.iter().zip(&ort.months) {
        for (a, b) in [(a.of_loop, b.of_loop), (a.frozen, b.frozen)] {
            let close = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 1e-4;
            assert!(close(a.log_loss, b.log_loss) && close(a.roc_auc, b.roc_auc), "{a:?} {b:?}");
        }
    }
}

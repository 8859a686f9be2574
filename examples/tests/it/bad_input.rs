use std::fs;
use std::path::Path;

use mlops_core::ErrorKind;

use crate::{closed_loop, simulated};

const HEADER: &str = "Administrative,Administrative_Duration,Informational,Informational_Duration,\
                      ProductRelated,ProductRelated_Duration,BounceRates,ExitRates,PageValues,SpecialDay,\
                      Month,OperatingSystems,Browser,Region,TrafficType,VisitorType,Weekend,Revenue";

/// Runs on this file and gives the error, which is one line; the state folder must still be usable.
fn refused(content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("sessions.csv");
    fs::write(&data, content).unwrap();
    let state = folder.path().join("state");
    let error = closed_loop(&state, &["--data", data.to_str().unwrap()]).unwrap_err();
    let line = format!("{error:#}");
    assert!(!line.contains('\n'), "{line}");
    assert!(line.contains("sessions.csv"), "the file is named: {line}");
    assert!(!state.exists(), "a bad file is found before the state folder is touched");
    line
}

fn csv(rows: &[&str]) -> Vec<u8> {
    format!("{HEADER}\n{}\n", rows.join("\n")).into_bytes()
}

fn row(month: &str) -> String {
    format!("0,0,0,0,1,0,0.2,0.2,0,0,{month},1,1,1,1,Returning_Visitor,FALSE,FALSE")
}

#[test]
fn bad_data_is_named() {
    let check = |content: &[u8], message: &str| {
        let line = refused(content);
        assert!(line.contains(message), "{line}");
    };
    check(b"", "the file is empty");
    check(b"a,b\n1,2\n", "are missing: the data has a, b");
    check(&csv(&[]), "months: want at least 3");
    check(&csv(&[&row("Smarch")]), "unknown month `Smarch` in row 0");
    check(&csv(&[&row("Feb").replace("0.2,0.2", "0.2,lots")]), "column `ExitRates` should be float");
    check(&csv(&[&row("Feb").replace("0.2,0.2", "0.2,7")]), "column `ExitRates` is out of its range");
    check(&csv(&[&row("Feb"), &row("Mar")]), "sessions of 2 months: want at least 3");
    check(&csv(&["1,2,3"]), "not as many cells as the header");
    check(b"PAR1 but not really", "Parquet file is damaged");
}

#[test]
fn one_class_alone_is_refused_with_a_reason_and_the_state_can_be_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("sessions.csv");
    let rows: Vec<String> = ["Feb", "Mar", "May"].iter().flat_map(|month| vec![row(month); 20]).collect();
    fs::write(&data, csv(&rows.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    let state = folder.path().join("state");
    let error = closed_loop(&state, &["--data", data.to_str().unwrap()]).unwrap_err();
    assert!(format!("{error:#}").contains("are of one class"), "{error:#}");
    closed_loop(&state, &["--sessions", "200"]).unwrap();
}

#[test]
fn a_missing_file_and_unusable_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = closed_loop(folder.path(), &["--data", "/nowhere/sessions.csv"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(format!("{error:#}").contains("/nowhere/sessions.csv"));

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = closed_loop(&file, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("--state"), "{error}");
    let error = closed_loop(Path::new("/proc/closed_loop"), &[]).unwrap_err();
    assert!(error.to_string().contains("`/proc/closed_loop`"), "{error}");
}

#[test]
fn a_damaged_state_file_is_named_and_the_registry_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let first = closed_loop(folder.path(), &["--sessions", "200"]).unwrap();
    let state = folder.path().join("loop.json");
    let text = fs::read(&state).unwrap();
    fs::write(&state, &text[..text.len() / 2]).unwrap();
    let error = closed_loop(folder.path(), &["--sessions", "200"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("remove it"), "{error}");
    fs::remove_file(&state).unwrap();
    let again = closed_loop(folder.path(), &["--sessions", "200"]).unwrap();
    assert!(again.versions.len() >= first.versions.len(), "versions are never lost");
}

#[test]
fn an_unwritable_summary_is_found_out_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let json = file.join("summary.json");
    let error = closed_loop(&state, &["--json", json.to_str().unwrap()]).unwrap_err();
    assert!(error.to_string().contains("--json"), "{error}");
    assert!(!state.exists());
}

#[test]
fn a_state_of_a_newer_program_is_not_called_damaged() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("loop.json"), "{\"version\": 99, \"new\": true}").unwrap();
    let error = closed_loop(folder.path(), &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn months_of_one_class_train_no_model_and_the_service_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = simulated(folder.path(), &[1, 2, 7, 9], |number, row| {
        if number >= 7 { row.replace(",true\n", ",false\n") } else { row }
    });
    let summary = closed_loop(&folder.path().join("state"), &["--data", data.to_str().unwrap()]).unwrap();
    assert_eq!((summary.months.len(), summary.requests_failed), (2, 0));
    assert!(summary.refusals.iter().any(|refusal| refusal.contains("one class")), "{:?}", summary.refusals);
}

#[test]
fn two_processes_cannot_share_a_state_folder() {
    let folder = tempfile::tempdir().unwrap();
    let lock = fs::File::create(folder.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let error = closed_loop(folder.path(), &[]).unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

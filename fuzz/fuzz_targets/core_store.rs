//! Any bytes where a pipeline's store keeps its files: a journal, a result, a run, a list of artifacts.
#![no_main]

use bytes::Bytes;
use mlops_core::Digester;
use mlops_core::pipeline::store::{StoredResult, decode};
use mlops_core::pipeline::{Artifact, Many};
use mlops_core::run::Run;
use mlops_core::trigger::{Cron, TriggerState};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 7 {
        0 => {
            let _ = decode(bytes);
        }
        // Whole lines with their checksums, so that the entries themselves are reached.
        1 => {
            let journal = with_sums(bytes);
            if let Ok((entries, whole)) = decode(&journal) {
                assert_eq!(whole, journal.len());
                assert!(entries.len() <= journal.len());
            }
        }
        2 => {
            let _ = StoredResult::decode(&Bytes::copy_from_slice(bytes));
        }
        // A header with its checksum.
        3 => {
            let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
            let sum = mlops_core::Digest::of(&bytes[..end]).to_string();
            let file = [sum.as_bytes(), b"\n", bytes].concat();
            if let Ok(result) = StoredResult::decode(&file.into()) {
                assert_eq!(result.outputs.len(), result.header.outputs.len());
            }
        }
        4 => {
            if let Ok(run) = Run::from_json(bytes) {
                let again = serde_json::to_vec(&run).expect("a run that was read can be written");
                Run::from_json(&again).expect("a run that was written can be read");
                let _ = run.metrics();
            }
            let _ = serde_json::from_slice::<TriggerState>(bytes);
        }
        5 => {
            let _ = Many::<Many<String>>::decode(Bytes::copy_from_slice(bytes));
            let _ = <Vec<Option<f64>>>::decode(Bytes::copy_from_slice(bytes));
            let _ = mlops_core::pipeline::Table::decode(Bytes::copy_from_slice(bytes));
            let _ = mlops_core::data::Dataset::decode(Bytes::copy_from_slice(bytes));
        }
        _ => {
            if let Some(cron) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Cron>().ok()) {
                let _ = cron.next_after(mlops_core::Timestamp::EPOCH);
            }
        }
    }
});

fn with_sums(bytes: &[u8]) -> Vec<u8> {
    let (mut journal, mut sum) = (Vec::new(), String::new());
    for json in bytes.split(|byte| *byte == b'\n') {
        let mut digester = Digester::new();
        digester.field(&sum);
        digester.update(json);
        sum = digester.finish().to_string();
        sum.truncate(16);
        journal.extend_from_slice(sum.as_bytes());
        journal.push(b' ');
        journal.extend_from_slice(json);
        journal.push(b'\n');
    }
    journal
}

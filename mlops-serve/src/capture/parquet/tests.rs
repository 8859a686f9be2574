//! Crashes, damage and rotation.

use std::fs::OpenOptions;

use arrow_array::Int64Array;
use arrow_schema::{DataType, Field, Schema};
use mlops_core::{ErrorKind, ManualClock};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

fn batch(values: std::ops::Range<i64>) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("x", DataType::Int64, false)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from_iter_values(values))]).unwrap()
}

fn values(paths: &[PathBuf]) -> Vec<i64> {
    let mut values = Vec::new();
    for path in paths {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            values.extend(batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values());
        }
    }
    values
}

fn open(folder: &Path, settings: ParquetSettings) -> ParquetSink {
    ParquetSink::open(folder, "shop", settings, ManualClock::new(Timestamp::EPOCH)).unwrap()
}

#[test]
fn files_rotate_by_rows_and_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let settings = ParquetSettings::default().rows_max(25).age_s_max(60);
    let mut sink = ParquetSink::open(folder.path(), "shop", settings, Arc::clone(&clock)).unwrap();
    for start in [0, 10, 20] {
        sink.write(&batch(start..start + 10)).unwrap();
    }
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..30));
    sink.write(&batch(30..31)).unwrap();
    assert_eq!(sink.files().unwrap().len(), 1);
    clock.advance(Duration::from_secs(61));
    sink.write(&batch(31..32)).unwrap();
    assert_eq!(sink.files().unwrap().len(), 2);
    sink.flush().unwrap();
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..32));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "finished files and the lock");
}

#[test]
fn a_crash_loses_no_batch_wherever_it_falls() {
    for (cut, kept) in [(0, 20), (9, 10), (700, 0)] {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), ParquetSettings::default());
        sink.write(&batch(0..10)).unwrap();
        sink.write(&batch(10..20)).unwrap();
        let stream = folder.path().join("shop-00000000.arrows");
        drop(sink);
        // The last bytes never reached the disk.
        let length = fs::metadata(&stream).unwrap().len();
        OpenOptions::new().write(true).open(&stream).unwrap().set_len(length.saturating_sub(cut)).unwrap();
        fs::write(folder.path().join("shop-00000000.parquet.tmp"), b"half a file").unwrap();

        let mut sink = open(folder.path(), ParquetSettings::default());
        let found = values(&sink.files().unwrap());
        assert_eq!(found, Vec::from_iter(0..kept), "cut {cut} of {length}");
        sink.write(&batch(90..91)).unwrap();
        sink.flush().unwrap();
        assert_eq!(values(&sink.files().unwrap()).len(), kept as usize + 1);
    }
}

#[test]
fn a_crash_between_rename_and_removal_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), ParquetSettings::default());
    sink.write(&batch(0..10)).unwrap();
    let stream = folder.path().join("shop-00000000.arrows");
    let bytes = fs::read(&stream).unwrap();
    sink.flush().unwrap();
    fs::write(&stream, bytes).unwrap();
    drop(sink);
    let sink = open(folder.path(), ParquetSettings::default());
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..10));
}

#[test]
fn a_crash_before_a_damaged_stream_is_set_aside_leaves_it_told_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, places) = stream_of_12(folder.path());
    let stream = folder.path().join("shop-00000000.arrows");
    let mut bytes = fs::read(&stream).unwrap();
    sink.flush().unwrap();
    drop(sink);
    let whole = values(&[folder.path().join("shop-00000000.parquet")]);
    bytes[places[4]] ^= 0xff;
    fs::write(&stream, bytes).unwrap();
    let mut sink = open(folder.path(), ParquetSettings::default());
    assert!(sink.tick().unwrap_err().to_string().contains("is damaged at byte"));
    assert_eq!(
        (sink.damaged().unwrap().len(), values(&sink.files().unwrap())),
        (1, whole),
        "what was finished stays"
    );
    assert!(!stream.exists());
}

#[test]
fn a_file_that_cannot_be_finished_yet_is_finished_later_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), ParquetSettings::default().rows_max(10));
    let in_the_way = folder.path().join("shop-00000000.parquet.tmp");
    fs::create_dir(&in_the_way).unwrap();
    sink.write(&batch(0..10)).unwrap();
    sink.write(&batch(10..15)).unwrap();
    assert!(sink.tick().unwrap_err().is_retryable());
    assert!(sink.flush().is_err());
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(10..15));
    fs::remove_dir(&in_the_way).unwrap();
    sink.write(&batch(15..20)).unwrap();
    sink.flush().unwrap();
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..20));
}

#[test]
fn one_stream_that_is_gone_stops_no_other_and_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), ParquetSettings::default().rows_max(10));
    let in_the_way = folder.path().join("shop-00000000.parquet.tmp");
    fs::create_dir(&in_the_way).unwrap();
    sink.write(&batch(0..10)).unwrap();
    sink.write(&batch(10..20)).unwrap();
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(10..20), "the first holds up no other");
    fs::remove_file(folder.path().join("shop-00000000.arrows")).unwrap();
    let error = sink.tick().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(error.to_string(), "a stream of records was removed: 10 acknowledged rows are lost");
    sink.tick().unwrap();
    sink.write(&batch(20..25)).unwrap();
    sink.flush().unwrap();
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(10..25));
}

#[test]
fn a_sink_opens_though_a_stream_cannot_be_finished_now_or_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), ParquetSettings::default());
    sink.write(&batch(0..10)).unwrap();
    drop(sink);
    fs::write(folder.path().join("shop-00000001.arrows"), [7; 1000]).unwrap();
    let in_the_way = folder.path().join("shop-00000000.parquet.tmp");
    fs::create_dir(&in_the_way).unwrap();

    let mut sink = open(folder.path(), ParquetSettings::default());
    assert_eq!(sink.damaged().unwrap(), [folder.path().join("shop-00000001.arrows.damaged")]);
    assert_eq!(sink.tick().unwrap_err().kind(), ErrorKind::Data);
    assert!(sink.tick().unwrap_err().is_retryable());
    fs::remove_dir(&in_the_way).unwrap();
    sink.write(&batch(10..15)).unwrap();
    sink.flush().unwrap();
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..15));
    drop(sink);
    let mut sink = open(folder.path(), ParquetSettings::default());
    sink.flush().unwrap();
    assert_eq!((sink.damaged().unwrap().len(), sink.number), (1, 3), "its number is not used again");
}

/// A stream of 12 batches of 10 rows, and where each message starts.
fn stream_of_12(folder: &Path) -> (ParquetSink, Vec<usize>) {
    let mut sink = open(folder, ParquetSettings::default());
    let mut starts = vec![0];
    for start in (0..120).step_by(10) {
        starts.push(sink.open.as_ref().map_or(0, |open| open.acknowledged.bytes as usize));
        sink.write(&batch(start..start + 10)).unwrap();
    }
    let bytes = sink.open.as_ref().unwrap().acknowledged.bytes as usize;
    // The schema's message ends where the first batch starts: all batches are as long.
    starts[1] = starts[2] - (bytes - starts[2]) / 11;
    (sink, starts)
}

#[test]
fn a_flipped_byte_costs_a_batch_at_most_and_the_stream_is_kept() {
    for is_restarted in [false, true] {
        // The marker, its length, then all of the metadata.
        for offset in (0..16).chain((16..200).step_by(13)) {
            let folder = tempfile::tempdir().unwrap();
            let (mut sink, starts) = stream_of_12(folder.path());
            let path = folder.path().join("shop-00000000.arrows");
            let mut bytes = fs::read(&path).unwrap();
            bytes[starts[4] + offset] ^= 0x40;
            fs::write(&path, bytes).unwrap();
            if is_restarted {
                drop(sink);
                sink = open(folder.path(), ParquetSettings::default());
            }
            let told = sink.flush();
            let found = values(&sink.files().unwrap());
            let Err(told) = told else {
                assert_eq!(found.len(), 120, "byte {offset}");
                continue;
            };
            assert_eq!(found, Vec::from_iter((0..30).chain(40..120)), "byte {offset}");
            assert_eq!(sink.damaged().unwrap().len(), 1);
            let rows = if is_restarted { "110 of its rows" } else { "110 of 120 acknowledged rows" };
            let want = format!("damaged at byte {}: {rows}", starts[4]);
            assert!(told.to_string().contains(&want), "{told}");
            sink.flush().unwrap();
        }
    }
}

#[test]
fn acknowledged_rows_that_are_cut_off_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, starts) = stream_of_12(folder.path());
    let file = OpenOptions::new().write(true).open(folder.path().join("shop-00000000.arrows")).unwrap();
    for cut in [starts[11] + 9, starts[8]] {
        file.set_len(cut as u64).unwrap();
    }
    let told = sink.flush().unwrap_err().to_string();
    assert!(told.contains("70 of 120 acknowledged rows could be read"), "{told}");
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..70));
}

#[test]
fn a_file_that_was_made_longer_before_it_was_written_is_torn_not_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, starts) = stream_of_12(folder.path());
    drop(sink);
    let file = OpenOptions::new().write(true).open(folder.path().join("shop-00000000.arrows")).unwrap();
    file.set_len(starts[11] as u64).unwrap();
    file.set_len(starts[11] as u64 + 5000).unwrap();
    let mut sink = open(folder.path(), ParquetSettings::default());
    sink.flush().unwrap();
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..100));
    assert!(sink.damaged().unwrap().is_empty());
}

#[test]
fn a_batch_that_was_not_acknowledged_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), ParquetSettings::default());
    sink.write(&batch(0..5)).unwrap();
    // Written, but the sync failed: the caller offers it again.
    let mut failed = sink.open.take().unwrap();
    failed.stream.write(&batch(5..9)).unwrap();
    sink.give_up(failed);
    sink.write(&batch(5..9)).unwrap();
    // Its process ends before anything is finished.
    drop(sink);
    let sink = open(folder.path(), ParquetSettings::default());
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..9));
}

#[test]
fn a_quiet_sink_finishes_its_file_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let mut sink =
        ParquetSink::open(folder.path(), "shop", ParquetSettings::default(), Arc::clone(&clock)).unwrap();
    sink.write(&batch(0..5)).unwrap();
    sink.tick().unwrap();
    assert!(sink.files().unwrap().is_empty());
    clock.advance(Duration::from_secs(900));
    sink.tick().unwrap();
    assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..5));
}

#[test]
fn a_second_sink_is_refused_and_takes_nothing_from_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = open(folder.path(), ParquetSettings::default());
    first.write(&batch(0..5)).unwrap();
    let clock = ManualClock::new(Timestamp::EPOCH);
    let error = ParquetSink::open(folder.path(), "shop", ParquetSettings::default(), clock).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().starts_with("another sink writes `shop` in"), "{error}");
    first.write(&batch(5..9)).unwrap();
    drop(first);
    let next = open(folder.path(), ParquetSettings::default());
    assert_eq!(values(&next.files().unwrap()), Vec::from_iter(0..9));
}

#[test]
fn a_sink_that_is_dropped_is_not_held_by_a_child_that_starts_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let sink = open(folder.path(), ParquetSettings::default());
    // What a child has between its fork and its own program.
    let inherited = sink.lock.try_clone().unwrap();
    drop(sink);
    open(folder.path(), ParquetSettings::default());
    drop(inherited);
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for prefix in ["", "../x", "a/b", "a.b"] {
        let clock = ManualClock::new(Timestamp::EPOCH);
        assert!(ParquetSink::open(".", prefix, ParquetSettings::default(), clock).is_err(), "{prefix}");
    }
}

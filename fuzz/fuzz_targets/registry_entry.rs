//! Any bytes as an entry of the registry's log: an answer, never a panic; what is read is written back the same.
#![no_main]

use mlops_registry::Commit;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok((commit, digest)) = Commit::decode(1, bytes) {
        let (written, again) = commit.encode().unwrap();
        let (read, _) = Commit::decode(1, &written).unwrap();
        assert_eq!(read, commit);
        if written == bytes {
            assert_eq!(again, digest);
        }
        let _ = mlops_registry::Snapshot::default().apply(&commit, digest);
    }
});

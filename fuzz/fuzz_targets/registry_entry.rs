//! Any bytes as an entry of the registry's log, as they are and under a right seal: an answer, never a panic; what is
//! read is written back the same.
#![no_main]

use mlops_core::Digest;
use mlops_registry::Commit;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let body = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let seal = format!("\n{{\"sha256\":\"{}\"}}\n", Digest::of(body));
    let sealed = [body, seal.as_bytes()].concat();
    for entry in [bytes, &sealed] {
        if let Ok((commit, digest)) = Commit::decode(1, entry) {
            let (written, again) = commit.encode().unwrap();
            let (read, _) = Commit::decode(1, &written).unwrap();
            assert_eq!(read, commit);
            if written == entry {
                assert_eq!(again, digest);
            }
            let _ = mlops_registry::Snapshot::default().apply(&commit, digest);
        }
    }
});

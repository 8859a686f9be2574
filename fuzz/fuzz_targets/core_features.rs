//! Any JSON as stored feature state: what is read encodes any row or refuses it, and is written as it was read.
#![no_main]

use mlops_core::data::{Reservoir, TableSchema, Value};
use mlops_core::features::{Encoder, EncoderSpec};
use mlops_core::{Event, ModelRef, RequestId, Timestamp};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(encoder) = Encoder::from_json(data) {
        let json = encoder.to_json().expect("an encoder that was read can be written");
        assert_eq!(Encoder::from_json(&json).expect("an encoder that was written can be read"), encoder);
        let width = encoder.width();
        if width <= 1 << 16 {
            let mut out = vec![0.0; width];
            for cell in [
                Value::Missing,
                Value::Float(f64::MAX),
                Value::Integer(i64::MIN),
                Value::Text("x"),
                Value::Boolean(true),
            ] {
                let row = vec![cell; encoder.inputs().len()];
                let _ = encoder.encode_row(&row, &mut out);
                for (place, feed) in encoder.feeds().iter().enumerate() {
                    let _ = encoder.encode_floats(place, &row, &mut out[..feed.width()]);
                    let _ = encoder.encode_indices(place, &row, &mut vec![0_i64; feed.width()]);
                }
            }
            assert_eq!(encoder.output_names().len(), width);
        }
    }
    let _ = serde_json::from_slice::<EncoderSpec>(data);
    let _ = serde_json::from_slice::<TableSchema>(data);
    let _ = serde_json::from_slice::<Reservoir<u64>>(data);
    let _ = serde_json::from_slice::<Event>(data);
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(id) = text.parse::<RequestId>() {
            assert_eq!(id.to_string().parse::<RequestId>().ok(), Some(id));
        }
        if let Ok(model) = text.parse::<ModelRef>() {
            assert_eq!(model.to_string().parse::<ModelRef>().ok(), Some(model));
        }
        let _ = text.parse::<Timestamp>();
    }
});

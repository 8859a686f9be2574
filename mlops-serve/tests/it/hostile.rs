//! Damaged models: an error or an answer, never a panic.

use mlops_core::ElementType;
use mlops_serve::Result;
use mlops_serve::runtime::{NativeRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::TensorBuf;
use proptest::prelude::*;

use crate::golden::bytes;

/// Loads and, if that works, runs one row of zeros.
fn survive(model: Result<NativeRuntime>) {
    let Ok(model) = model else { return };
    let inputs: Vec<TensorBuf> = model
        .signature()
        .inputs
        .iter()
        .map(|spec| {
            let shape: Vec<usize> = spec
                .shape
                .iter()
                .map(|axis| match axis {
                    mlops_core::Dimension::Fixed(length) => *length,
                    mlops_core::Dimension::Symbol(_) => 1,
                })
                .collect();
            let mut buffer = TensorBuf::new(spec.element);
            match spec.element {
                ElementType::F32 => buffer.reset::<f32>(&shape).unwrap().fill(0.0),
                ElementType::F64 => buffer.reset::<f64>(&shape).unwrap().fill(0.0),
                ElementType::I64 => buffer.reset::<i64>(&shape).unwrap().fill(0),
                ElementType::I32 => buffer.reset::<i32>(&shape).unwrap().fill(0),
                ElementType::Bool => buffer.reset::<bool>(&shape).unwrap().fill(false),
                _ => {
                    let count: usize = shape.iter().product();
                    let fill = |texts: &mut mlops_serve::tensor::TextBuf| {
                        (0..count).for_each(|_| texts.push(""));
                        Ok(())
                    };
                    buffer.reset_text(&shape, fill).unwrap();
                }
            }
            buffer
        })
        .collect();
    let views: Vec<_> = inputs.iter().map(TensorBuf::view).collect();
    let _ = model.predict(&views);
}

fn damage(bytes: &[u8], edits: &[(usize, u8)], cut: Option<usize>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, value) in edits {
        let length = bytes.len();
        bytes[place % length] = *value;
    }
    if let Some(cut) = cut {
        let length = bytes.len();
        bytes.truncate(cut % length);
    }
    bytes
}

fn edits() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>()), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn onnx(which in 0_usize..11, edits in edits(), cut in prop::option::weighted(0.2, any::<usize>())) {
        let names = [
            "mlp", "two_tower", "retrieval", "dlrm", "logistic_categories", "logistic_classes", "forest_classifier",
            "zipmap", "trees5_numbers", "trees5_targets", "trees5_members",
        ];
        let model = bytes(&format!("{}.onnx", names[which]));
        survive(NativeRuntime::from_onnx(&damage(&model, &edits, cut).into()));
    }

    #[test]
    fn lightgbm(edits in edits(), cut in prop::option::weighted(0.2, any::<usize>())) {
        let model = damage(&bytes("lightgbm_categories.txt"), &edits, cut);
        survive(NativeRuntime::from_lightgbm(&String::from_utf8_lossy(&model)));
    }

    #[test]
    fn lightgbm_with_another_digit(edits in prop::collection::vec((any::<usize>(), b'0'..=b'9'), 1..12)) {
        let model = damage(&bytes("lightgbm_zeros.txt"), &edits, None);
        survive(NativeRuntime::from_lightgbm(&String::from_utf8_lossy(&model)));
    }

    #[test]
    fn xgboost(edits in edits(), cut in prop::option::weighted(0.2, any::<usize>())) {
        for model in ["xgboost_classes.json", "xgboost_categories.ubj"] {
            survive(NativeRuntime::from_xgboost(&damage(&bytes(model), &edits, cut)));
        }
    }

    #[test]
    fn xgboost_with_another_digit(edits in prop::collection::vec((any::<usize>(), b'0'..=b'9'), 1..12)) {
        for model in ["xgboost_classes.json", "xgboost_categories.json"] {
            survive(NativeRuntime::from_xgboost(&damage(&bytes(model), &edits, None)));
        }
    }
}

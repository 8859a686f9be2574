//! Trees that are put together wrongly: refused with what is wrong, in little memory.

use mlops_core::onnx::proto::{AttributeProto, TensorProto, attribute_type};
use mlops_serve::ErrorKind;
use mlops_serve::runtime::NativeRuntime;
use serde_json::json;

use crate::golden::bytes;

/// `trees5_members` with one attribute changed.
fn trees5(name: &str, edit: impl FnOnce(&mut AttributeProto)) -> mlops_serve::Result<NativeRuntime> {
    let mut model = mlops_core::onnx::read(&bytes("trees5_members.onnx")).unwrap();
    let attributes = &mut model.graph.as_mut().unwrap().node[0].attribute;
    match attributes.iter_mut().find(|attribute| attribute.name == name) {
        Some(attribute) => edit(attribute),
        None => {
            let mut attribute = AttributeProto { name: name.into(), ..AttributeProto::default() };
            edit(&mut attribute);
            attributes.push(attribute);
        }
    }
    NativeRuntime::from_onnx(&mlops_core::onnx::write(&model))
}

#[test]
fn onnx_trees_of_version_5() {
    let refused = |name: &str, kind: ErrorKind, part: &str, edit: &dyn Fn(&mut AttributeProto)| {
        let error = trees5(name, edit).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:#}");
        assert!(format!("{error:#}").contains(part), "{error:#}");
    };
    let data = |name: &str, part: &str, edit: &dyn Fn(&mut AttributeProto)| {
        refused(name, ErrorKind::Data, part, edit);
    };
    let unsupported = |name: &str, part: &str, edit: &dyn Fn(&mut AttributeProto)| {
        refused(name, ErrorKind::Unsupported, part, edit);
    };
    let number = |value: i64| {
        move |attribute: &mut AttributeProto| {
            attribute.i = value;
            attribute.r#type = attribute_type::INT;
        }
    };
    let tensor = |attribute: &mut AttributeProto, edit: &dyn Fn(&mut TensorProto)| {
        edit(attribute.t.as_mut().unwrap());
    };
    assert!(trees5("aggregate_function", number(0)).is_ok());
    unsupported("aggregate_function", "the aggregate 3 of trees: want 0 (average) or 1 (sum)", &number(3));
    unsupported("post_transform", "the transform 1 after trees", &number(1));
    data("n_targets", "there are 0", &number(0));
    data("tree_roots", "there is no node -1", &|roots| roots.ints[0] = -1);
    data("tree_roots", "has two parents", &|roots| roots.ints[1] = roots.ints[0]);
    data("tree_roots", "0 trees", &|roots| roots.ints.clear());
    data("nodes_truenodeids", "entries for", &|ids| ids.ints.truncate(1));
    data("nodes_truenodeids", "want 0 to 2^32", &|ids| *ids.ints.last_mut().unwrap() = -1);
    data("nodes_truenodeids", "has no weight", &|ids| *ids.ints.last_mut().unwrap() = 1 << 20);
    data("nodes_featureids", "feature 6", &|ids| *ids.ints.last_mut().unwrap() = 6);
    data("leaf_targetids", "target", &|ids| ids.ints.fill(1));
    data("leaf_targetids", "leaf weights", &|ids| ids.ints.truncate(1));
    data("membership_values", "empty set", &|values| {
        tensor(values, &|values| {
            values.dims[0] = 0;
            values.float_data.clear();
            values.raw_data.clear();
        });
    });
    const MEMBER: i32 = 6;
    unsupported("membership_values", "membership of inf", &|values| {
        tensor(values, &|values| values.float_data[0] = f32::INFINITY);
    });
    data("membership_values", "the member 7 of sets of a tree belongs to no node", &|values| {
        tensor(values, &|values| {
            values.dims[0] += 2;
            values.float_data.extend([7.0, f32::NAN]);
        });
    });
    unsupported("nodes_modes", "the comparison 9", &|modes| {
        tensor(modes, &|modes| {
            modes.int32_data.iter_mut().filter(|mode| **mode != MEMBER).for_each(|mode| *mode = 9);
        });
    });
    data("nodes_modes", "no tensor of bytes", &|modes| modes.t = None);
    unsupported("nodes_splits", "32-bit floats", &|splits| tensor(splits, &|splits| splits.data_type = 11));
}

#[test]
fn xgboost_sets_of_categories() {
    let refused = |part: &str, edit: &dyn Fn(&mut serde_json::Value)| {
        let mut model: serde_json::Value = serde_json::from_slice(&bytes("xgboost_categories.json")).unwrap();
        edit(&mut model["learner"]["gradient_booster"]["model"]["trees"][0]);
        let error = NativeRuntime::from_xgboost(&serde_json::to_vec(&model).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error:#}");
        assert!(format!("{error:#}").contains(part), "{error:#}");
    };
    refused("splits by categories and has none", &|tree| tree["split_type"] = json!(vec![1; 99]));
    refused("not there, or twice", &|tree| tree["categories_nodes"][1] = tree["categories_nodes"][0].clone());
    refused("not there, or twice", &|tree| tree["categories_nodes"][0] = json!(-1));
    refused("not there, or twice", &|tree| tree["categories_segments"][0] = json!(i64::MAX));
    refused("another number of sets", &|tree| tree["categories_sizes"] = json!([]));
    refused("the category -1", &|tree| tree["categories"][0] = json!(-1));
    refused("the category 16777216", &|tree| tree["categories"][0] = json!(1 << 24));
    // Every node with all categories.
    refused("sets of", &|tree| {
        let (nodes, all) = (
            tree["categories_nodes"].as_array().unwrap().len(),
            tree["categories"].as_array().unwrap().len(),
        );
        tree["categories_segments"] = json!(vec![0; nodes]);
        tree["categories_sizes"] = json!(vec![all; nodes]);
    });
}

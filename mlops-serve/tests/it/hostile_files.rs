//! Files made to take all memory, to panic, or to be read wrongly: refused in little time and memory.

use mlops_core::onnx::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute_type, data_type,
};
use mlops_core::onnx::{Tree, TreeEnsemble, TreeNode};
use mlops_serve::ErrorKind;
use mlops_serve::runtime::{NativeRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::TensorView;

use crate::golden::bytes;

fn xgboost(edit: impl Fn(&mut serde_json::Value)) -> mlops_serve::Result<NativeRuntime> {
    let mut model: serde_json::Value = serde_json::from_slice(&bytes("xgboost_classes.json")).unwrap();
    edit(&mut model);
    NativeRuntime::from_xgboost(&serde_json::to_vec(&model).unwrap())
}

#[test]
fn xgboost_of_more_classes_than_trees() {
    for classes in ["100000000000", "18446744073709551615", "9999"] {
        let error = xgboost(|model| {
            model["learner"]["learner_model_param"]["num_class"] = classes.into();
        })
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    }
    let error = xgboost(|model| {
        model["learner"]["learner_model_param"]["num_feature"] = "2000000000".into();
    })
    .unwrap_err();
    assert!(error.to_string().contains("2000000000 features"), "{error}");
}

#[test]
fn xgboost_of_old_versions_writes_truth_values() {
    let old = xgboost(|model| {
        for tree in model["learner"]["gradient_booster"]["model"]["trees"].as_array_mut().unwrap() {
            for flag in tree["default_left"].as_array_mut().unwrap() {
                *flag = (flag.as_u64() == Some(1)).into();
            }
        }
    });
    assert!(old.is_ok(), "{:?}", old.err());
}

const HEADER: &str =
    "tree\nversion=v4\nnum_tree_per_iteration=1\nmax_feature_idx=1\nobjective=regression\n\n";

#[test]
fn lightgbm_of_more_scores_than_trees() {
    let leaf = "Tree=0\nnum_leaves=1\nleaf_value=0.5\n\nend of trees\n";
    let load = |header: &str| NativeRuntime::from_lightgbm(&format!("{header}{leaf}"));
    assert!(load(HEADER).is_ok());
    for targets in ["2", "1000000000000", "18446744073709551615"] {
        let header = HEADER.replace("iteration=1", &format!("iteration={targets}"));
        assert_eq!(load(&header).unwrap_err().kind(), ErrorKind::Data);
        let averaged = header.replace("max_feature", "average_output\nmax_feature");
        assert_eq!(load(&averaged).unwrap_err().kind(), ErrorKind::Data);
    }
    let wide = HEADER.replace("idx=1", "idx=2000000000");
    assert_eq!(load(&wide).unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Splits that all test the same set of categories.
fn categories(splits: usize, words: usize, threshold: &str) -> String {
    let list = |values: &mut dyn Iterator<Item = i64>| {
        values.map(|value| value.to_string()).collect::<Vec<_>>().join(" ")
    };
    let left = list(&mut (0..splits as i64).map(|split| -split - 1));
    let right =
        list(&mut (1..=splits as i64).map(|split| if split < splits as i64 { split } else { -split - 1 }));
    let repeat = |word: &str, times: usize| vec![word; times].join(" ");
    format!(
        "{HEADER}Tree=0\nnum_leaves={}\nnum_cat=1\nsplit_feature={}\nthreshold={}\ndecision_type={}\n\
         left_child={left}\nright_child={right}\nleaf_value={}\ncat_boundaries=0 {words}\ncat_threshold={}\n\nend of trees\n",
        splits + 1,
        repeat("0", splits),
        repeat(threshold, splits),
        repeat("1", splits),
        repeat("1", splits + 1),
        repeat("1431655765", words),
    )
}

#[test]
fn lightgbm_with_one_large_set_for_every_split() {
    assert!(NativeRuntime::from_lightgbm(&categories(1, 10, "0")).is_ok());
    let error = NativeRuntime::from_lightgbm(&categories(1000, 9000, "0")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:#}");
    let error = NativeRuntime::from_lightgbm(&categories(1, 1, "1e30")).unwrap_err();
    assert!(
        format!("{error:#}").contains("no set of categories 1e30")
            || format!("{error:#}").contains("no set of categories 1000000000"),
        "{error:#}"
    );
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ints: values.to_vec(),
        r#type: attribute_type::INTS,
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: value, r#type: attribute_type::INT, ..AttributeProto::default() }
}

fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(|name| (*name).into()).collect(),
        output: vec![output.into()],
        attribute,
        ..NodeProto::default()
    }
}

/// A model with inputs and outputs of these shapes, whose first axis is open.
fn graph(
    opset: i64,
    inputs: &[(&str, &[usize])],
    outputs: &[(&str, &[usize])],
    nodes: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
) -> mlops_serve::Result<NativeRuntime> {
    let graph = GraphProto {
        name: "hostile".into(),
        node: nodes,
        input: inputs.iter().map(value).collect(),
        output: outputs.iter().map(value).collect(),
        initializer,
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    NativeRuntime::from_onnx(&mlops_core::onnx::write(&model))
}

/// `name: f32[batch, dims]`.
fn value((name, dims): &(&str, &[usize])) -> ValueInfoProto {
    let batch = DimensionProto { dim_param: Some("batch".into()), dim_value: None };
    let fixed = dims.iter().map(|axis| DimensionProto { dim_value: Some(*axis as i64), dim_param: None });
    let shape = TensorShapeProto { dim: std::iter::once(batch).chain(fixed).collect() };
    let tensor = TensorTypeProto { elem_type: data_type::FLOAT, shape: Some(shape) };
    let kind = TypeProto { tensor_type: Some(tensor), ..TypeProto::default() };
    ValueInfoProto { name: (*name).into(), r#type: Some(kind) }
}

#[test]
fn onnx_with_one_large_constant_for_every_operation() {
    let weights = TensorProto::of_f32("w", &[512, 512], &vec![0.0; 512 * 512]).unwrap();
    let load = |count: usize| {
        let nodes = (0..count)
            .map(|index| node("MatMul", &[&format!("x{index}"), "w"], &format!("x{}", index + 1), vec![]))
            .collect();
        let last = format!("x{count}");
        graph(13, &[("x0", &[512])], &[(&last, &[512])], nodes, vec![weights.clone()])
    };
    assert!(load(3).is_ok());
    let error = load(2000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(format!("{error:#}").contains("more than memory allows"), "{error:#}");
}

#[test]
fn onnx_tables_are_shared_by_all_that_look_into_them() {
    let table = TensorProto::of_f32("table", &[1000, 8], &vec![1.0; 8000]).unwrap();
    let mut nodes = vec![node("Cast", &["x"], "id", vec![int("to", 7)])];
    nodes.extend((0..100).map(|index| node("Gather", &["table", "id"], &format!("row{index}"), vec![])));
    let names: Vec<String> = (0..100).map(|index| format!("row{index}")).collect();
    let outputs: Vec<(&str, &[usize])> = names.iter().map(|name| (name.as_str(), &[1, 8][..])).collect();
    let runtime = graph(13, &[("x", &[1])], &outputs, nodes, vec![table]).unwrap();
    assert!(runtime.memory_usage() < 100_000, "{} bytes", runtime.memory_usage());
    let found = runtime.predict(&[TensorView::new(&[3.0_f32], [1, 1]).unwrap()]).unwrap();
    assert_eq!(found[99].view().values::<f32>().unwrap(), [1.0; 8]);
}

#[test]
fn onnx_transposes_that_name_no_axis() {
    let transpose = |perm: &[i64]| {
        let nodes = vec![node("Transpose", &["x"], "y", vec![ints("perm", perm)])];
        graph(13, &[("x", &[2, 3])], &[("y", &[3, 2])], nodes, vec![])
    };
    assert!(transpose(&[0, 2, 1]).is_ok());
    for perm in [&[0, -1, 1][..], &[0, 2, -1], &[0, 1, 1], &[0, 0, 1], &[0, i64::MIN, 1], &[0, 1], &[1, 0, 2]]
    {
        assert_eq!(transpose(perm).unwrap_err().kind(), ErrorKind::Unsupported, "{perm:?}");
    }
}

#[test]
fn onnx_shapes_that_would_mix_rows_with_other_axes() {
    let add = |a: &[usize], b: &[usize], y: &[usize]| {
        let nodes = vec![node("Add", &["a", "b"], "y", vec![])];
        graph(13, &[("a", a), ("b", b)], &[("y", y)], nodes, vec![])
    };
    assert!(add(&[1], &[4], &[4]).is_ok());
    assert!(add(&[], &[1], &[1]).is_err(), "[batch] + [batch, 1] is [batch, batch]");
    assert!(add(&[1], &[3, 4], &[3, 4]).is_err());
}

#[test]
fn onnx_operations_of_old_versions() {
    let softmax = |opset: i64, dims: &[usize], attributes| {
        let nodes = vec![node("Softmax", &["x"], "y", attributes)];
        graph(opset, &[("x", dims)], &[("y", dims)], nodes, vec![])
    };
    assert!(softmax(11, &[4], vec![]).is_ok());
    assert!(softmax(13, &[2, 4], vec![]).is_ok());
    // It ran over both axes then.
    assert!(softmax(11, &[2, 4], vec![]).is_err());
    assert!(softmax(11, &[2, 4], vec![int("axis", 2)]).is_ok());
    assert!(softmax(6, &[4], vec![]).unwrap_err().to_string().contains("version 6"));
}

#[test]
fn onnx_trees_with_base_values_for_nobody() {
    let tree = Tree::new(vec![TreeNode::Leaf { value: 1.0 }]);
    let bytes = TreeEnsemble::new(3, vec![tree]).to_bytes().unwrap();
    let load = |bases: &[f32]| {
        let mut model = mlops_core::onnx::read(&bytes).unwrap();
        let trees =
            model.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type.starts_with("Tree"));
        let attributes = &mut trees.unwrap().attribute;
        attributes.retain(|attribute| attribute.name != "base_values");
        attributes.push(AttributeProto {
            name: "base_values".into(),
            floats: bases.to_vec(),
            r#type: attribute_type::FLOATS,
            ..AttributeProto::default()
        });
        NativeRuntime::from_onnx(&mlops_core::onnx::write(&model))
    };
    assert!(load(&[0.5]).is_ok());
    let error = load(&[0.5, 0.5]).unwrap_err();
    assert!(format!("{error:#}").contains("2 base values for 1 scores"), "{error:#}");
}

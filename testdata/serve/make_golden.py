"""Writes the models and golden outputs that `mlops-serve` is tested against.

    python -m venv venv
    venv/bin/pip install onnxruntime==1.31.1 onnx==1.23.2 skl2onnx==1.20.0 onnxmltools==1.16.0 \
        lightgbm==4.7.0 xgboost==3.2.0 scikit-learn==1.9.1 numpy==2.4.6
    venv/bin/python make_golden.py

Each model NAME gives NAME.onnx (or NAME.txt of LightGBM, NAME.json of XGBoost) and NAME.golden.json: the versions, the
inputs, and the outputs of ONNX Runtime on one thread (or of the learner itself). Everything is seeded; numbers are
written with all their digits.
"""

import json
import os
import pathlib
import sys

import lightgbm
import numpy as np
import onnx
import onnxmltools
import onnxruntime
import skl2onnx
import sklearn
import xgboost
from onnx import TensorProto, helper, numpy_helper
from onnxmltools.convert.common.data_types import FloatTensorType as BoosterFloats
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HERE = pathlib.Path(__file__).parent
VERSIONS = {
    module.__name__: module.__version__
    for module in [lightgbm, np, onnx, onnxmltools, onnxruntime, skl2onnx, sklearn, xgboost]
}
TYPES = {"float16": "f16", "float32": "f32", "float64": "f64", "int64": "i64", "int32": "i32", "bool": "bool", "object": "text"}


def tensor(name, array):
    array = np.asarray(array)
    kind = "text" if array.dtype.kind in "OUS" else TYPES[str(array.dtype)]
    # JSON has no NaN and no infinities: they become texts.
    data = [str(x) if isinstance(x, float) and not np.isfinite(x) else x for x in array.reshape(-1).tolist()]
    return {"name": name, "type": kind, "shape": list(array.shape), "data": data}


def golden(name, oracle, inputs, outputs):
    record = {
        "oracle": oracle,
        "versions": VERSIONS,
        "inputs": [tensor(*item) for item in inputs.items()],
        "outputs": [tensor(*item) for item in outputs.items()],
    }
    (HERE / f"{name}.golden.json").write_text(json.dumps(record) + "\n")


def save(name, model, inputs):
    """Saves an ONNX model and what ONNX Runtime answers."""
    data = model.SerializeToString()
    (HERE / f"{name}.onnx").write_bytes(data)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, inputs)))
    golden(name, "onnxruntime, CPU, 1 thread", inputs, outputs)
    size = len(data)
    print(f"{name}: {size} bytes, " + ", ".join(f"{key} {np.asarray(value).shape}" for key, value in outputs.items()))


def graph(name, nodes, inputs, outputs, constants):
    graph = helper.make_graph(
        nodes, name, inputs, outputs, [numpy_helper.from_array(value, key) for key, value in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def value(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, ["batch", *shape])


def weights(rng, *shape):
    return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)


def layers(rng, widths, prefix, x, last="Sigmoid"):
    nodes, constants = [], {}
    for index, (rows, columns) in enumerate(zip(widths, widths[1:])):
        w, b = f"{prefix}_w{index}", f"{prefix}_b{index}"
        constants[w], constants[b] = weights(rng, rows, columns), weights(rng, columns)
        out = f"{prefix}_{index}"
        nodes.append(helper.make_node("Gemm", [x, w, b], [out]))
        function = "Relu" if index + 2 < len(widths) else last
        if function:
            nodes.append(helper.make_node(function, [out], [out + "_y"]))
            out += "_y"
        x = out
    return nodes, constants, x


def mlp():
    rng = np.random.default_rng(1)
    nodes, constants, out = layers(rng, [64, 128, 32, 1], "mlp", "features")
    model = graph(
        "mlp", nodes, [value("features", TensorProto.FLOAT, 64)], [value(out, TensorProto.FLOAT, 1)], constants
    )
    save("mlp", model, {"features": rng.standard_normal((19, 64)).astype(np.float32)})


def two_tower():
    """A user tower and an item tower over embeddings; their product is the score."""
    rng = np.random.default_rng(2)
    user_nodes, user, user_out = layers(rng, [16 + 8, 32, 16], "user", "user_x", last=None)
    item_nodes, item, item_out = layers(rng, [16, 32, 16], "item", "item_x", last=None)
    nodes = [
        helper.make_node("Gather", ["user_table", "user_id"], ["user_e"]),
        helper.make_node("Concat", ["user_e", "context"], ["user_x"], axis=1),
        *user_nodes,
        helper.make_node("Gather", ["item_table", "item_id"], ["item_x"]),
        *item_nodes,
        helper.make_node("Mul", [user_out, item_out], ["product"]),
        helper.make_node("ReduceSum", ["product", "axes"], ["logit"], keepdims=1),
        helper.make_node("Sigmoid", ["logit"], ["score"]),
    ]
    constants = {
        **user,
        **item,
        "user_table": weights(rng, 100, 16),
        "item_table": weights(rng, 50, 16),
        "axes": np.array([1], dtype=np.int64),
    }
    inputs = [
        helper.make_tensor_value_info("user_id", TensorProto.INT64, ["batch"]),
        value("context", TensorProto.FLOAT, 8),
        helper.make_tensor_value_info("item_id", TensorProto.INT64, ["batch"]),
    ]
    model = graph("two_tower", nodes, inputs, [value("score", TensorProto.FLOAT, 1)], constants)
    rows = 17
    save(
        "two_tower",
        model,
        {
            "user_id": rng.integers(0, 100, rows),
            "context": rng.standard_normal((rows, 8)).astype(np.float32),
            "item_id": rng.integers(0, 50, rows),
        },
    )


def retrieval():
    """A user tower against all items, and the ten best."""
    rng = np.random.default_rng(3)
    tower, constants, out = layers(rng, [24, 32, 16], "user", "user", last=None)
    nodes = [
        *tower,
        helper.make_node("MatMul", [out, "items"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["best_score", "best_item"], axis=1),
    ]
    constants |= {"items": weights(rng, 16, 500), "k": np.array([10], dtype=np.int64)}
    model = graph(
        "retrieval",
        nodes,
        [value("user", TensorProto.FLOAT, 24)],
        [value("best_score", TensorProto.FLOAT, 10), value("best_item", TensorProto.INT64, 10)],
        constants,
    )
    save("retrieval", model, {"user": rng.standard_normal((9, 24)).astype(np.float32)})


def dlrm():
    """Three embeddings and dense features; all their pairwise products go into the top network."""
    rng = np.random.default_rng(4)
    bottom, constants, dense = layers(rng, [13, 32, 8], "bottom", "dense", last="Relu")
    nodes = [*bottom, helper.make_node("Unsqueeze", [dense, "one"], ["e0"])]
    inputs = [value("dense", TensorProto.FLOAT, 13)]
    feeds = {"dense": rng.standard_normal((11, 13)).astype(np.float32)}
    for index in range(1, 4):
        constants[f"table{index}"] = weights(rng, 40, 8)
        inputs.append(helper.make_tensor_value_info(f"id{index}", TensorProto.INT64, ["batch", 1]))
        nodes.append(helper.make_node("Gather", [f"table{index}", f"id{index}"], [f"e{index}"]))
        feeds[f"id{index}"] = rng.integers(0, 40, (11, 1))
    nodes += [
        helper.make_node("Concat", ["e0", "e1", "e2", "e3"], ["e"], axis=1),
        helper.make_node("Transpose", ["e"], ["et"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["e", "et"], ["products"]),
        helper.make_node("Reshape", ["products", "flat"], ["all_pairs"]),
        helper.make_node("Gather", ["all_pairs", "pairs"], ["interactions"], axis=1),
        helper.make_node("Concat", [dense, "interactions"], ["top_x"], axis=1),
    ]
    top, more, out = layers(rng, [8 + 6, 16, 1], "top", "top_x")
    nodes += top
    constants |= more | {
        "one": np.array([1], dtype=np.int64),
        "flat": np.array([-1, 16], dtype=np.int64),
        "pairs": np.array([4 * i + j for i in range(4) for j in range(i)], dtype=np.int64),
    }
    model = graph("dlrm", nodes, inputs, [value(out, TensorProto.FLOAT, 1)], constants)
    save("dlrm", model, feeds)


def rows(rng, count, features, missing=0.0):
    x = rng.standard_normal((count, features)).astype(np.float32)
    x[rng.random(x.shape) < missing] = np.nan
    return x


def target(x):
    filled = np.nan_to_num(x)
    return filled[:, 0] * 2 - filled[:, 1] * filled[:, 2] + np.sin(3 * filled[:, 3])


def edges(rng, x, thresholds):
    """Rows to try: some of the data, some with missing and infinite values, some right on thresholds."""
    tried = x[:40].copy()
    tried[20:24, rng.integers(0, x.shape[1], 4)] = np.nan
    tried[24] = np.nan
    tried[25], tried[26] = np.inf, -np.inf
    tried[27], tried[28] = 0.0, -0.0
    for row in range(29, 40):
        for feature, threshold in thresholds[row::11][:8]:
            tried[row, feature] = threshold
    return tried


def onnx_thresholds(model):
    for node in model.graph.node:
        if node.op_type.startswith("TreeEnsemble"):
            attributes = {attribute.name: attribute for attribute in node.attribute}
            pairs = zip(attributes["nodes_featureids"].ints, attributes["nodes_values"].floats)
            modes = attributes["nodes_modes"].strings
            return [pair for pair, mode in zip(pairs, modes) if mode != b"LEAF"]
    raise ValueError("no trees")


FEATURES = [("features", FloatTensorType([None, 8]))]
BOOSTER_FEATURES = [("features", BoosterFloats([None, 8]))]


def save_trees(name, model, x, rng):
    save(name, model, {"features": edges(rng, x, onnx_thresholds(model))})


def lightgbm_models():
    rng = np.random.default_rng(5)
    x = rows(rng, 600, 8, missing=0.05)
    y = target(x)
    wide = x.astype(np.float64)
    settings = dict(n_estimators=30, num_leaves=15, verbosity=-1, random_state=0, n_jobs=1, deterministic=True)
    regressor = lightgbm.LGBMRegressor(**settings).fit(wide, y)
    classifier = lightgbm.LGBMClassifier(**settings).fit(wide, (y > 0).astype(int))
    classes = lightgbm.LGBMClassifier(**{**settings, "n_estimators": 8}).fit(wide, np.digitize(y, [-1, 1]))
    for name, model in [("regressor", regressor), ("classifier", classifier), ("classes", classes)]:
        options = {} if name == "regressor" else dict(zipmap=False)
        converted = onnxmltools.convert_lightgbm(model, initial_types=BOOSTER_FEATURES, target_opset=15, **options)
        save_trees(f"lightgbm_{name}", converted, x, rng)
        booster = model.booster_
        text = booster.model_to_string()
        (HERE / f"lightgbm_{name}.txt").write_text(text)
        tried = edges(rng, wide, thresholds_of(text))
        golden(
            f"lightgbm_{name}_text",
            "lightgbm Booster.predict",
            {"features": tried},
            {"score": booster.predict(tried), "raw": booster.predict(tried, raw_score=True)},
        )
    # Categories, missing zeros, and a random forest, whose trees are averaged.
    categories = wide.copy()
    categories[:, 0] = rng.integers(0, 70, len(wide))
    categories[rng.random(len(wide)) < 0.2, 1] = 0.0
    effect = rng.standard_normal(70)[categories[:, 0].astype(int)] + np.nan_to_num(wide[:, 1])
    cases = {
        "categories": (dict(objective="regression", min_data_per_group=1, cat_smooth=1.0), [0]),
        "zeros": (dict(objective="regression", zero_as_missing=True), []),
        "forest": (dict(objective="regression", boosting="rf", bagging_freq=1, bagging_fraction=0.6), []),
        "poisson": (dict(objective="poisson"), []),
    }
    for name, (more, which) in cases.items():
        label = np.exp(effect / 4) if name == "poisson" else effect
        data = lightgbm.Dataset(categories, label, categorical_feature=which)
        fixed = dict(num_leaves=15, verbosity=-1, seed=0, num_threads=1, deterministic=True)
        booster = lightgbm.train({**fixed, **more}, data, num_boost_round=12)
        text = booster.model_to_string()
        (HERE / f"lightgbm_{name}.txt").write_text(text)
        tried = edges(rng, categories, [pair for pair in thresholds_of(text) if pair[0] not in which])
        tried[:8, 0] = [-1, 0.5, 69.9, 70, 1e9, np.nan, -0.5, 31]
        golden(
            f"lightgbm_{name}_text",
            "lightgbm Booster.predict",
            {"features": tried},
            {"score": booster.predict(tried), "raw": booster.predict(tried, raw_score=True)},
        )


def thresholds_of(text):
    pairs = []
    for line in text.splitlines():
        key, _, rest = line.partition("=")
        if key == "split_feature":
            features = rest.split()
        elif key == "threshold":
            pairs += [(int(feature), float(threshold)) for feature, threshold in zip(features, rest.split())]
    return pairs


def xgboost_models():
    rng = np.random.default_rng(6)
    x = rows(rng, 600, 8, missing=0.05)
    y = target(x)
    settings = dict(n_estimators=30, max_depth=4, random_state=0, n_jobs=1)
    models = {
        "regressor": (xgboost.XGBRegressor(**settings), y),
        "classifier": (xgboost.XGBClassifier(**settings), (y > 0).astype(int)),
        "classes": (xgboost.XGBClassifier(**{**settings, "n_estimators": 8}), np.digitize(y, [-1, 1])),
    }
    for name, (model, labels) in models.items():
        model.fit(x, labels)
        converted = onnxmltools.convert_xgboost(model, initial_types=BOOSTER_FEATURES, target_opset=15)
        save_trees(f"xgboost_{name}", converted, x, rng)
        booster = model.get_booster()
        booster.save_model(HERE / f"xgboost_{name}.json")
        tried = edges(rng, x, onnx_thresholds(converted))
        # XGBoost refuses infinities.
        tried[np.isinf(tried)] = 1e30
        data = xgboost.DMatrix(tried)
        golden(
            f"xgboost_{name}_json",
            "xgboost Booster.predict",
            {"features": tried},
            {"score": booster.predict(data), "raw": booster.predict(data, output_margin=True)},
        )
        if name == "classifier":
            # The same model in the binary form, which is the default since version 2.1.
            booster.save_model(HERE / f"xgboost_{name}.ubj")


def xgboost_categories():
    """Splits by one category and by sets of them, with unknown, negative, broken and missing categories."""
    rng = np.random.default_rng(12)
    x = rows(rng, 600, 4, missing=0.05)
    x[:, 0] = rng.integers(0, 70, len(x))
    x[:, 1] = rng.integers(0, 3, len(x))
    effect = rng.standard_normal(70)[x[:, 0].astype(int)] * (1 + x[:, 1]) + np.nan_to_num(x[:, 2])
    x[rng.random(len(x)) < 0.05, 0] = np.nan
    kinds = ["c", "c", "float", "float"]
    data = xgboost.DMatrix(x, effect, feature_types=kinds, enable_categorical=True)
    settings = dict(max_depth=5, max_cat_to_onehot=4, seed=0, nthread=1, tree_method="hist")
    booster = xgboost.train(settings, data, num_boost_round=12)
    for ending in ["json", "ubj"]:
        booster.save_model(HERE / f"xgboost_categories.{ending}")
    tried = x[:40].copy()
    tried[:12, 0] = [np.nan, 70, 69, 1000, 31, 32, 63, 64, 0, -0.0, 33, 1]
    tried[12:16, 1] = [np.nan, 0, 2, 5]
    tried[16:24, 0] = [1.5, 0.5, -0.5, -1, 1e9, 31.99, 2**24, 69.5]
    data = xgboost.DMatrix(tried, feature_types=kinds, enable_categorical=True)
    golden(
        "xgboost_categories_json",
        "xgboost Booster.predict",
        {"features": tried},
        {"score": booster.predict(data), "raw": booster.predict(data, output_margin=True)},
    )


def forests():
    rng = np.random.default_rng(7)
    x = rows(rng, 300, 8)
    y = target(x)
    settings = dict(n_estimators=6, max_depth=7, random_state=0)
    models = {
        "forest_regressor": RandomForestRegressor(**settings).fit(x, y),
        "forest_classifier": RandomForestClassifier(**settings).fit(x, (y > 0).astype(int)),
        "forest_classes": RandomForestClassifier(**settings).fit(x, np.digitize(y, [-1, 1])),
    }
    for name, model in models.items():
        options = {} if name == "forest_regressor" else {"zipmap": False}
        converted = skl2onnx.convert_sklearn(model, initial_types=FEATURES, target_opset=15, options=options)
        save_trees(name, converted, x, rng)


def handmade_trees():
    """What exporters seldom write: every comparison with missing values, averages and classes with a base."""
    rng = np.random.default_rng(10)
    modes = ["BRANCH_LT", "BRANCH_LEQ", "BRANCH_GT", "BRANCH_GTE", "BRANCH_EQ", "BRANCH_NEQ"]
    tried = rng.integers(-2, 3, (24, 6)).astype(np.float32)
    tried[0] = np.nan
    tried[1:7][np.eye(6, dtype=bool)] = np.nan
    ml = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 3)]

    def stumps(prefix, targets, leaves):
        """Two trees a mode, of one split each: missing values follow the comparison, or go to yes."""
        count = 2 * len(modes)
        return {
            "nodes_treeids": [tree for tree in range(count) for _ in range(3)],
            "nodes_nodeids": [0, 1, 2] * count,
            "nodes_featureids": [node for tree in range(count) for node in (tree // 2, 0, 0)],
            "nodes_values": [1.0, 0.0, 0.0] * count,
            "nodes_hitrates": [1.0] * 3 * count,
            "nodes_modes": [mode for tree in range(count) for mode in (modes[tree // 2], "LEAF", "LEAF")],
            "nodes_truenodeids": [1, 0, 0] * count,
            "nodes_falsenodeids": [2, 0, 0] * count,
            "nodes_missing_value_tracks_true": [flag for tree in range(count) for flag in (tree % 2, 0, 0)],
            f"{prefix}_treeids": [tree for tree in range(count) for _ in range(2)],
            f"{prefix}_nodeids": [1, 2] * count,
            f"{prefix}_ids": targets * 2 * count,
            f"{prefix}_weights": [float(x) for x in leaves(2 * count)],
        }

    def model(name, node, outputs):
        inputs = [value("features", TensorProto.FLOAT, 6)]
        graph = helper.make_graph([node], name, inputs, outputs)
        save(name, helper.make_model(graph, opset_imports=ml, ir_version=8), {"features": tried})

    powers = lambda count: 2.0 ** -np.arange(count)
    for aggregate in ["SUM", "AVERAGE"]:
        node = helper.make_node(
            "TreeEnsembleRegressor", ["features"], ["score"], domain="ai.onnx.ml", n_targets=1,
            aggregate_function=aggregate, base_values=[0.25], post_transform="NONE", **stumps("target", [0], powers),
        )
        model(f"handmade_{aggregate.lower()}", node, [value("score", TensorProto.FLOAT, 1)])
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
        value("probabilities", TensorProto.FLOAT, 2),
    ]
    leaves = lambda count: rng.standard_normal(count)
    for transform in ["NONE", "LOGISTIC"]:
        node = helper.make_node(
            "TreeEnsembleClassifier", ["features"], ["label", "probabilities"], domain="ai.onnx.ml",
            classlabels_int64s=[0, 1], base_values=[0.5], post_transform=transform, **stumps("class", [0], leaves),
        )
        model(f"handmade_one_base_{transform.lower()}", node, outputs)


def trees_of_version_5():
    """The one tree operator of ai.onnx.ml 5: the stumps above, two targets, sets of members, and a lone leaf."""
    rng = np.random.default_rng(11)
    tried = rng.integers(-2, 6, (24, 6)).astype(np.float32)
    tried[0] = np.nan
    tried[1:7][np.eye(6, dtype=bool)] = np.nan
    tried[7] = np.inf
    tried[8] = -np.inf
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]

    def save_node(name, targets, attributes):
        node = helper.make_node(
            "TreeEnsemble", ["features"], ["score"], domain="ai.onnx.ml", n_targets=targets, **attributes
        )
        graph = helper.make_graph(
            [node], name, [value("features", TensorProto.FLOAT, 6)], [value("score", TensorProto.FLOAT, targets)]
        )
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        save(name, model, {"features": tried})

    def tensor_of(kind, values):
        return helper.make_tensor("", kind, [len(values)], values)

    def grow(depth, nodes, leaves, members, modes):
        """A random tree; the place of its root in `nodes`."""
        place = len(nodes)
        nodes.append(None)
        mode = int(rng.choice(modes))
        split = float(rng.integers(-2, 5)) + float(rng.choice([0.0, 0.5]))
        if mode == 6:
            members.append([float(x) for x in rng.choice(np.arange(-2, 6), int(rng.integers(1, 4)), replace=False)])
        children = []
        for _ in range(2):
            if depth == 0 or rng.random() < 0.2:
                leaves.append((int(rng.integers(0, 2)), float(np.float32(rng.standard_normal()))))
                children.append((1, len(leaves) - 1))
            else:
                children.append((0, grow(depth - 1, nodes, leaves, members, modes)))
        nodes[place] = (mode, split, int(rng.integers(0, 6)), children, int(rng.integers(0, 2)))
        return place

    def attributes(count, depth, modes, targets, **more):
        nodes, leaves, members = [], [], []
        roots = []
        for _ in range(count):
            roots.append(grow(depth, nodes, leaves, members, modes))
        # A tree of one leaf.
        leaves.append((0, 0.125))
        roots.append(len(nodes))
        nodes.append((0, 0.0, 0, [(1, len(leaves) - 1)] * 2, 0))
        sets = {}
        if members:
            # Sets are listed in the order of the nodes.
            sets["membership_values"] = tensor_of(
                TensorProto.FLOAT, [x for one in members for x in [*one, float("nan")]]
            )
        return sets | more | {
            "tree_roots": roots,
            "nodes_modes": tensor_of(TensorProto.UINT8, [node[0] for node in nodes]),
            "nodes_splits": tensor_of(TensorProto.FLOAT, [node[1] for node in nodes]),
            "nodes_featureids": [node[2] for node in nodes],
            "nodes_trueleafs": [node[3][0][0] for node in nodes],
            "nodes_truenodeids": [node[3][0][1] for node in nodes],
            "nodes_falseleafs": [node[3][1][0] for node in nodes],
            "nodes_falsenodeids": [node[3][1][1] for node in nodes],
            "nodes_missing_value_tracks_true": [node[4] for node in nodes],
            "leaf_targetids": [leaf[0] % targets for leaf in leaves],
            "leaf_weights": tensor_of(TensorProto.FLOAT, [leaf[1] for leaf in leaves]),
        }

    save_node("trees5_numbers", 1, attributes(40, 3, [0, 1, 2, 3, 4, 5], 1))
    save_node("trees5_targets", 2, attributes(30, 4, [0], 2, aggregate_function=0))
    save_node("trees5_members", 1, attributes(20, 3, [1, 6], 1))


def logistic_with_categories():
    import pandas

    rng = np.random.default_rng(8)
    count = 400
    frame = pandas.DataFrame(
        {
            "visitor": rng.choice(["new", "returning", "other"], count),
            "month": rng.choice(["jan", "feb", "mar", "may"], count),
            "pages": rng.gamma(2.0, 3.0, count).astype(np.float32),
            "value": rng.standard_normal(count).astype(np.float32),
        }
    )
    y = np.where(frame["value"] + (frame["visitor"] == "new") * 1.5 + rng.standard_normal(count) * 0.3 > 0.5, "buy", "leave")
    columns = ColumnTransformer(
        [
            ("category", OneHotEncoder(handle_unknown="ignore"), ["visitor", "month"]),
            ("number", StandardScaler(), ["pages", "value"]),
        ]
    )
    model = Pipeline([("columns", columns), ("logistic", LogisticRegression())]).fit(frame, y)
    types = [
        ("visitor", StringTensorType([None, 1])),
        ("month", StringTensorType([None, 1])),
        ("pages", FloatTensorType([None, 1])),
        ("value", FloatTensorType([None, 1])),
    ]
    converted = skl2onnx.convert_sklearn(model, initial_types=types, target_opset=15, options={"zipmap": False})
    tried = frame[:12].copy()
    tried.loc[3, "visitor"] = "never seen"
    tried.loc[4, "month"] = ""
    save("logistic_categories", converted, {name: tried[[name]].to_numpy() for name in tried})


def logistic():
    rng = np.random.default_rng(9)
    x = rows(rng, 300, 8)
    model = LogisticRegression().fit(x, np.digitize(target(x), [-1, 1]))
    converted = skl2onnx.convert_sklearn(model, initial_types=FEATURES, target_opset=15, options={"zipmap": False})
    save("logistic_classes", converted, {"features": x[:12]})
    sequence = skl2onnx.convert_sklearn(model, initial_types=FEATURES, target_opset=15)
    (HERE / "zipmap.onnx").write_bytes(sequence.SerializeToString())


if __name__ == "__main__":
    os.chdir(HERE)
    np.seterr(all="ignore")
    steps = [
        mlp, two_tower, retrieval, dlrm, lightgbm_models, xgboost_models, xgboost_categories, forests, handmade_trees, trees_of_version_5,
        logistic_with_categories, logistic,
    ]
    for step in steps:
        if len(sys.argv) == 1 or step.__name__ in sys.argv[1:]:
            step()

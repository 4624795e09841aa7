#!/usr/bin/env python3
"""Make the models of the tests, and what Python's onnxruntime answers with them.

    make models                     trains, exports, and writes everything in this folder
    build.py --answers              only asks the committed models again (after a new ONNX Runtime)

Apart from the tests, because they must not depend on a trainer: the models and answers are committed and small.
The rule a newcomer would break: expected/*.json is only ever written here, by Python's onnxruntime, never by a node.

Each expected/MODEL.json holds one batch:
    inputs, outputs   as in a request and an answer of Open Inference Protocol V2 (a ZipMap as its table of
                      probabilities, with the classes beside it)
    records           only for models with named columns: per row the features, the prediction and the probabilities
"""

import argparse
import json
import os
import pathlib
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime

HERE = pathlib.Path(__file__).parent
MOST_BYTES = 500_000
OPSET = 18

IRIS_COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
SPECIES = ["setosa", "versicolor", "virginica"]
IRIS_ROWS = [
    [5.1, 3.5, 1.4, 0.2],
    [7.0, 3.2, 4.7, 1.4],
    [6.3, 3.3, 6.0, 2.5],
    [4.9, 2.4, 3.3, 1.0],
    [5.9, 3.0, 5.1, 1.8],
    [0.0, 0.0, 0.0, 0.0],
]
DIABETES_COLUMNS = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
DIABETES_ROWS = [
    [59.0, 2.0, 32.1, 101.0, 157.0, 93.2, 38.0, 4.0, 4.8598, 87.0],
    [48.0, 1.0, 21.6, 87.0, 183.0, 103.2, 70.0, 3.0, 3.8918, 69.0],
    [24.0, 1.0, 25.3, 84.0, 198.0, 131.4, 40.0, 5.0, 4.8903, 89.0],
    [36.0, 1.0, 19.6, 71.0, 250.0, 133.2, 97.0, 3.0, 4.5951, 92.0],
]
SENTENCES = {
    "praise": [
        "the ship was lovely and the crew was kind",
        "a wonderful trip, we loved every day",
        "great food and a friendly captain",
        "everything was on time, thank you",
        "the cabin was clean and quiet",
        "we would love to sail with you again",
    ],
    "complaint": [
        "the ship was late and the crew was rude",
        "a terrible trip, we lost every bag",
        "cold food and a dirty cabin",
        "nobody answered, we want our money back",
        "the engine was loud all night",
        "we will never sail with you again",
    ],
}
TEXTS = [
    "The crew was kind and the food was great",
    "my cabin was dirty, I want my money back",
    "thank you, captain",
    "Überraschend ruhig – 船",
    "",
]


def train():
    """Everything that needs scikit-learn."""
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.datasets import load_diabetes, load_digits, load_iris
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def save(name, model, inputs, zipmap=None):
        options = {} if zipmap is None else {id(model[-1]): {"zipmap": zipmap}}
        if isinstance(model[0], TfidfVectorizer):
            # The default, en_US, is not installed on every machine, and then the model does not load.
            options[id(model[0])] = {"locale": "C"}
        # The name of the graph would be random.
        made = skl2onnx.convert_sklearn(model, name, inputs, options=options, target_opset=OPSET)
        onnx.checker.check_model(made)
        (HERE / f"{name}.onnx").write_bytes(made.SerializeToString(deterministic=True))

    def tensor(width):
        return [("input", FloatTensorType([None, width]))]

    def columns(names):
        return [(name, FloatTensorType([None, 1])) for name in names]

    def scaled(width, last):
        return make_pipeline(ColumnTransformer([("scaled", StandardScaler(), list(range(width)))]), last)

    def classifier():
        return LogisticRegression(max_iter=1000, random_state=7)

    iris = load_iris()
    numbers = make_pipeline(StandardScaler(), classifier()).fit(iris.data, iris.target)
    save("iris-tensor", numbers, tensor(4), zipmap=False)
    save("iris-zipmap", numbers, tensor(4), zipmap=True)
    names = scaled(4, classifier()).fit(iris.data, np.array(SPECIES)[iris.target])
    save("iris-columns", names, columns(IRIS_COLUMNS), zipmap=True)

    digits = load_digits()
    save("digits", make_pipeline(StandardScaler(), classifier()).fit(digits.data, digits.target), tensor(64), zipmap=False)

    diabetes = load_diabetes(scaled=False)
    trees = GradientBoostingRegressor(n_estimators=40, max_depth=3, random_state=7)
    save("diabetes", make_pipeline(StandardScaler(), Ridge()).fit(diabetes.data, diabetes.target), tensor(10))
    save("diabetes-columns", scaled(10, trees).fit(diabetes.data, diabetes.target), columns(DIABETES_COLUMNS))

    texts = [text for group in SENTENCES.values() for text in group]
    labels = [label for label, group in SENTENCES.items() for _ in group]
    reader = TfidfVectorizer(token_pattern="[a-zA-Z]+")
    save("text", make_pipeline(reader, classifier()).fit(texts, labels), [("text", StringTensorType([None, 1]))], zipmap=True)


def by_hand():
    """What no trainer makes: a classifier of named classes without ZipMap, and a model that does not come to an end."""
    plain = onnx.load(HERE / "iris-columns.onnx")
    graph = plain.graph
    [zipmap] = [node for node in graph.node if node.op_type == "ZipMap"]
    graph.node.remove(zipmap)
    [maps] = [output for output in graph.output if output.name == zipmap.output[0]]
    graph.output.remove(maps)
    graph.output.append(port(zipmap.input[0], onnx.TensorProto.FLOAT, [None, len(SPECIES)]))
    write("iris-plain", plain)

    number, flag, count = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL, onnx.TensorProto.INT64
    make = onnx.helper
    step = [make.make_node("Identity", ["go"], ["go_on"]), make.make_node("Add", ["v", "x"], ["w"])]
    goes_in = [port("i", count, []), port("go", flag, []), port("v", number, ["N", 1])]
    turn = make.make_graph(step, "turn", goes_in, [port("go_on", flag, []), port("w", number, ["N", 1])])
    loop = make.make_node("Loop", ["turns", "", "x"], ["y"], body=turn)
    turns = make.make_tensor("turns", count, [], [2**63 - 1])
    graph = make.make_graph([loop], "endless", [port("x", number, ["N", 1])], [port("y", number, ["N", 1])], [turns])
    write("endless", make.make_model(graph, opset_imports=[make.make_opsetid("", OPSET)], ir_version=8))


def port(name, element, shape):
    return onnx.helper.make_tensor_value_info(name, element, shape)


def write(name, model):
    onnx.checker.check_model(model)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def package():
    """The example of a package: one model as two endpoints, and what it answers to the first three flowers."""
    folder = HERE / "iris-package"
    (folder / "iris.onnx").write_bytes((HERE / "iris-tensor.onnx").read_bytes())
    answered = json.loads((HERE / "expected" / "iris-package.json").read_text())["records"]
    queries = [
        {"features": one["features"], "expected": {"prediction": one["prediction"], "probas": one["probas"]}}
        for one in answered[:3]
    ]
    (folder / "queries.json").write_text(json.dumps(queries, indent=2) + "\n")
    with zipfile.ZipFile(HERE / "iris-package.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            # Always the same bytes: an entry would carry the time of its file.
            archive.writestr(zipfile.ZipInfo(path.name, (1980, 1, 1, 0, 0, 0)), path.read_bytes(), zipfile.ZIP_DEFLATED)


DATATYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "object": "BYTES"}


def v2(name, array, **more):
    """A tensor as Open Inference Protocol V2 writes it. float32 in the shortest digits that mean it."""
    shortest = [float(str(x)) for x in array.ravel()] if array.dtype == np.float32 else array.ravel().tolist()
    return {"name": name, **more, "datatype": DATATYPES[array.dtype.name], "shape": list(array.shape), "data": shortest}


def output(name, value):
    """A tensor, or a ZipMap's maps as one."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        classes = list(value[0])
        table = np.array([[row[one] for one in classes] for row in value], np.float32)
        return v2(name, table, parameters={"classes": json.dumps(classes, separators=(",", ":"))})
    array = np.asarray(value)
    return v2(name, array if array.dtype.name in DATATYPES else array.astype(object))


def records(columns, rows, outputs, labels, classes):
    """What the records dialect must say of each row."""
    value, *probabilities = outputs
    answers = []
    for index, row in enumerate(rows):
        prediction = value["data"][index]
        answer = {"features": dict(zip(columns, row)), "prediction": prediction}
        for table in probabilities:
            width = table["shape"][1]
            names = labels or classes or json.loads(table["parameters"]["classes"])
            of_row = table["data"][index * width : (index + 1) * width]
            answer["probas"] = dict(zip(map(str, names), of_row))
        if labels:
            answer["prediction"] = labels[prediction]
        answers.append(answer)
    return answers


def ask(expected, model, inputs, columns=None, rows=None, labels=None, classes=None):
    """Runs a model and writes down what came out."""
    session = onnxruntime.InferenceSession(HERE / f"{model}.onnx", providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    outputs = [output(*pair) for pair in zip(names, session.run(None, inputs))]
    said = {"model": f"{model}.onnx", "inputs": [v2(*pair) for pair in inputs.items()], "outputs": outputs}
    if columns:
        said["records"] = records(columns, rows, outputs, labels, classes)
    (HERE / "expected" / f"{expected}.json").write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")


def answers():
    """Everything that needs only onnxruntime."""

    def together(rows):
        return {"input": np.array(rows, np.float32)}

    def apart(columns, rows, dtype=np.float32):
        return {name: np.array([[row[i]] for row in rows], dtype) for i, name in enumerate(columns)}

    ask("iris-tensor", "iris-tensor", together(IRIS_ROWS))
    ask("iris-zipmap", "iris-zipmap", together(IRIS_ROWS))
    ask("iris-columns", "iris-columns", apart(IRIS_COLUMNS, IRIS_ROWS), IRIS_COLUMNS, IRIS_ROWS)
    ask("iris-plain", "iris-plain", apart(IRIS_COLUMNS, IRIS_ROWS), IRIS_COLUMNS, IRIS_ROWS, classes=SPECIES)
    ask("iris-package", "iris-tensor", together(IRIS_ROWS), IRIS_COLUMNS, IRIS_ROWS, SPECIES)
    shades = np.arange(3 * 64) * 7 % 17
    ask("digits", "digits", together([*shades.reshape(3, 64).tolist(), *drawn()]))
    ask("diabetes", "diabetes", together(DIABETES_ROWS))
    ask("diabetes-columns", "diabetes-columns", apart(DIABETES_COLUMNS, DIABETES_ROWS), DIABETES_COLUMNS, DIABETES_ROWS)
    rows = [[text] for text in TEXTS]
    ask("text", "text", apart(["text"], rows, object), ["text"], rows)


def drawn():
    """A zero and a one of scikit-learn's digits: 8 by 8 in 17 shades, each a digit to the base of 17."""
    zero = ["005d9100", "00dfaf50", "03f20b80", "04c00880", "05800980", "04b01c70", "02e5ac00", "006da000"]
    one = ["000cd500", "000bg900", "003fg600", "07fgg200", "001gg300", "001gg600", "001gg600", "000bga00"]
    return [[int(shade, 17) for shade in "".join(picture)] for picture in (zero, one)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--answers", action="store_true", help="only ask the committed models again")
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The exporter walks through sets; their order is that of hashes.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    if not arguments.parse_args().answers:
        print("training and exporting")
        train()
        by_hand()
    print("asking Python's onnxruntime", onnxruntime.__version__)
    (HERE / "expected").mkdir(exist_ok=True)
    answers()
    package()
    made = [path for path in HERE.rglob("*") if path.suffix in {".onnx", ".json", ".zip"}]
    total = sum(path.stat().st_size for path in made)
    print(f"{len(made)} files, {total} bytes")
    if total > MOST_BYTES:
        raise SystemExit(f"that is more than {MOST_BYTES} bytes: make a model smaller")


if __name__ == "__main__":
    main()

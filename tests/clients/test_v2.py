"""Open Inference Protocol V2 with JSON tensors, by plain HTTP."""

import pytest
from served import MODELS, near, nested, rows_of, served


def check(answer, node, outputs):
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model_name"], body["model_version"]) == (node.endpoint, node.version)
    assert body["outputs"] == near(outputs)


@pytest.fixture(params=MODELS)
def node(request):
    return served(request.param)


def test_a_batch(http, node):
    answer = http.post(node.v2("/infer"), json={"id": "7", "inputs": node.inputs}, headers={"X-API-Key": node.key})
    check(answer, node, node.outputs)
    assert answer.json()["id"] == "7"


def test_row_by_row(http, node):
    for row in range(node.inputs[0]["shape"][0]):
        inputs = [rows_of(tensor, row, 1) for tensor in node.inputs]
        answer = http.post(node.v2("/infer"), json={"inputs": inputs}, headers={"X-API-Key": node.key})
        check(answer, node, [rows_of(tensor, row, 1) for tensor in node.outputs])


def test_nested_data(http, node):
    inputs = [{**tensor, "data": nested(tensor)} for tensor in node.inputs]
    check(http.post(node.v2("/infer"), json={"inputs": inputs}, headers={"X-API-Key": node.key}), node, node.outputs)


def test_one_output_of_a_version_by_name(http, node):
    last = node.outputs[-1]
    body = {"inputs": node.inputs, "outputs": [{"name": last["name"]}]}
    answer = http.post(node.v2(f"/versions/{node.version}/infer"), json=body, headers={"X-API-Key": node.key})
    check(answer, node, [last])


def test_metadata(http, node):
    answer = http.get(node.v2(), headers={"X-API-Key": node.key})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["name"] == node.endpoint
    assert node.version in body["versions"]
    for said, tensors in (("inputs", node.inputs), ("outputs", node.outputs)):
        assert [(one["name"], one["datatype"]) for one in body[said]] == [(one["name"], one["datatype"]) for one in tensors]
    assert [one["shape"] for one in body["inputs"]] == [[-1, *one["shape"][1:]] for one in node.inputs]
    assert http.get(node.v2("/ready"), headers={"X-API-Key": node.key}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}])
def test_without_the_key(http, node, headers):
    answer = http.post(node.v2("/infer"), json={"inputs": node.inputs}, headers=headers)
    assert answer.status_code == 401, answer.text
    assert list(answer.json()) == ["error"]

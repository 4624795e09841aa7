"""Record queries as Dataiku's API node takes them, and the habit of small services, by plain HTTP."""

import json

import pytest
from served import MODELS, near, nested, served, with_records


def result(record):
    return near({name: value for name, value in record.items() if name != "features"})


@pytest.fixture(params=with_records())
def node(request):
    return served(request.param)


def test_predict(http, node):
    for record in node.records:
        body = {"features": record["features"], "context": {"who": "tests"}}
        answer = http.post(node.of_records("predict"), json=body, auth=(node.key, ""))
        assert answer.status_code == 200, answer.text
        assert answer.json()["result"] == result(record)
        assert answer.json()["apiContext"] == {
            "serviceId": node.service,
            "endpointId": node.endpoint,
            "serviceGeneration": node.version,
        }


def test_predict_multi(http, node):
    items = [{"features": record["features"]} for record in node.records]
    answer = http.post(node.of_records("predict-multi"), json={"items": items}, auth=(node.key, ""))
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"] == [result(record) for record in node.records]


def test_predict_simple(http, node):
    for record in node.records:
        answer = http.get(
            node.of_records("predict-simple"), params=record["features"], headers={"Authorization": f"Bearer {node.key}"}
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["result"] == result(record)


def test_the_simple_dialect_with_columns(http, node):
    url, headers = f"{node.url}/{node.endpoint}/predict", {"X-API-Key": node.key}
    for record in node.records:
        answer = http.post(url, json=record["features"], headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json() == result(record)
    answer = http.post(url, json=[record["features"] for record in node.records], headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json() == [result(record) for record in node.records]


def test_records_without_the_key(http, node):
    body = {"features": node.records[0]["features"]}
    for auth in (None, ("wrong", "")):
        answer = http.post(node.of_records("predict"), json=body, auth=auth)
        assert answer.status_code == 401, answer.text
        assert "result" not in answer.text


def by_class(tensor):
    """A ZipMap's table as the maps that it stands for; any other tensor as lists of lists."""
    if "parameters" not in tensor:
        return nested(tensor)
    classes = [str(one) for one in json.loads(tensor["parameters"]["classes"])]
    return [dict(zip(classes, row)) for row in nested(tensor)]


@pytest.mark.parametrize("model", [model for model in MODELS if model not in with_records()])
def test_the_simple_dialect_with_tensors(http, model):
    node = served(model)
    inputs = {tensor["name"]: nested(tensor) for tensor in node.inputs}
    answer = http.post(f"{node.url}/{node.endpoint}/predict", json={"inputs": inputs}, headers={"X-API-Key": node.key})
    assert answer.status_code == 200, answer.text
    expected = {tensor["name"]: near(by_class(tensor)) for tensor in node.outputs}
    assert answer.json()["outputs"] == expected


@pytest.mark.parametrize("model", MODELS)
def test_the_simple_dialect_without_the_key(http, model):
    node = served(model)
    url = f"{node.url}/{node.endpoint}/predict"
    missing = http.post(url, json={})
    assert (missing.status_code, missing.json()) == (401, {"detail": "Not authenticated"})
    wrong = http.post(url, json={}, headers={"X-API-Key": "wrong"})
    assert (wrong.status_code, wrong.json()) == (403, {"detail": "Invalid API key"})

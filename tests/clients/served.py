"""What the running nodes serve, and what they must answer.

Apart from the tests, so that they read as what a client does. The rule a newcomer would break: expectations come from
tests/models/expected alone, and every one of them must be served; a missing node is a failure, not a skip.
"""

import dataclasses
import json
import os
import pathlib

import pytest

EXPECTED = pathlib.Path(__file__).parent.parent / "models" / "expected"
MODELS = sorted(path.stem for path in EXPECTED.glob("*.json"))


@dataclasses.dataclass(frozen=True)
class Served:
    """One endpoint of one node."""

    url: str
    service: str
    endpoint: str
    version: str
    key: str
    expected: dict

    @property
    def inputs(self):
        return self.expected["inputs"]

    @property
    def outputs(self):
        return self.expected["outputs"]

    @property
    def records(self):
        return self.expected.get("records", [])

    def v2(self, rest=""):
        return f"{self.url}/v2/models/{self.endpoint}{rest}"

    def of_records(self, how):
        return f"{self.url}/public/api/v1/{self.service}/{self.endpoint}/{how}"


def served(model):
    """The node that serves this model."""
    places = json.loads(os.environ["CASTOFF_NODE_URLS"])
    if model not in places:
        pytest.fail(f"CASTOFF_NODE_URLS has no {model}: every model of tests/models/expected must be served")
    place = places[model]
    expected = json.loads((EXPECTED / f"{model}.json").read_text())
    key = place.get("key") or os.environ["CASTOFF_KEY"]
    return Served(place["url"].rstrip("/"), place["service"], place["endpoint"], place["version"], key, expected)


def with_records():
    """The models whose inputs are named columns."""
    return [model for model in MODELS if "records" in json.loads((EXPECTED / f"{model}.json").read_text())]


def near(value):
    """Numbers of single precision may differ in their last digits; everything else must be equal."""
    if isinstance(value, float):
        return pytest.approx(value, rel=1e-5, abs=1e-6)
    if isinstance(value, list):
        return [near(item) for item in value]
    if isinstance(value, dict):
        return {name: near(item) for name, item in value.items()}
    return value


def rows_of(tensor, first, count):
    """Some rows of a tensor, as a tensor."""
    width = len(tensor["data"]) // tensor["shape"][0]
    data = tensor["data"][first * width : (first + count) * width]
    return {**tensor, "shape": [count, *tensor["shape"][1:]], "data": data}


def nested(tensor):
    """The data of a tensor as lists of lists."""
    data = tensor["data"]
    for size in reversed(tensor["shape"][1:]):
        data = [data[start : start + size] for start in range(0, len(data), size)]
    return data

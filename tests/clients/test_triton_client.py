"""The client of NVIDIA's Triton, with JSON tensors; it sends what we do not write ourselves."""

import numpy
import pytest
import tritonclient.http as triton
from served import MODELS, near, served
from tritonclient.utils import InferenceServerException

DTYPES = {"FP32": numpy.float32, "INT64": numpy.int64, "BYTES": object}


@pytest.fixture(params=MODELS)
def node(request):
    return served(request.param)


@pytest.fixture
def client(node):
    with triton.InferenceServerClient(node.url.removeprefix("http://")) as client:
        yield client


def asked(node):
    inputs = []
    for tensor in node.inputs:
        array = numpy.array(tensor["data"], DTYPES[tensor["datatype"]]).reshape(tensor["shape"])
        given = triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
        given.set_data_from_numpy(array, binary_data=False)
        inputs.append(given)
    return inputs, [triton.InferRequestedOutput(tensor["name"], binary_data=False) for tensor in node.outputs]


def test_infer(client, node):
    inputs, outputs = asked(node)
    answer = client.infer(node.endpoint, inputs, outputs=outputs, headers={"X-API-Key": node.key})
    for tensor in node.outputs:
        array = answer.as_numpy(tensor["name"])
        assert list(array.shape) == tensor["shape"]
        # The client leaves text as bytes when it came as binary, as str when it came as JSON.
        assert array.ravel().tolist() == near(tensor["data"])


def test_what_it_asks_about_a_model(client, node):
    headers = {"Authorization": f"Bearer {node.key}"}
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(node.endpoint, node.version, headers=headers)
    assert client.get_model_metadata(node.endpoint, headers=headers)["name"] == node.endpoint


def test_it_understands_a_refusal(client, node):
    inputs, outputs = asked(node)
    with pytest.raises(InferenceServerException) as refusal:
        client.infer(node.endpoint, inputs, outputs=outputs)
    assert refusal.value.status() == "401"

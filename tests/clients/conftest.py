"""The client that most tests use."""

import httpx
import pytest


@pytest.fixture(scope="session")
def http():
    # trust_env: a proxy of the machine must not stand between a test and its node.
    with httpx.Client(timeout=30, trust_env=False) as client:
        yield client

"""The OpenAPI document says what the server does: checked with examples made from it."""

import hypothesis
import pytest
from acted import acted
from hypothesis import given

from vl2.server.app import create_app
from vl2.server.settings import Settings

schemathesis = pytest.importorskip("schemathesis")
pytestmark = pytest.mark.filterwarnings("ignore")  # of a test library about itself

OPERATIONS = [
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/locate",
    "GET /v1/models",
    "GET /v1/models/{name}",
    "GET /health",
    "GET /metrics",
]


@pytest.fixture(scope="module")
def document():
    assistant, _ = acted(pace=0)
    app = create_app(assistant, Settings(model="nano", hosts=("testserver",)))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def test_all_operations_are_listed(document):
    found = [result.ok().label for result in document.get_all_operations()]
    assert sorted(found) == sorted(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_are_as_documented(document, label):
    method, path = label.split(" ")
    operation = document[path][method]

    @given(case=operation.as_strategy())
    @hypothesis.settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def check(case):
        if isinstance(case.body, dict) and method == "POST":
            case.body["max_tokens"] = 3  # the acted engine writes as many words as it may
        # A schema cannot say that bytes must be a picture, or that 1.0 is not 1.
        case.call_and_validate(excluded_checks=[schemathesis.checks.positive_data_acceptance])

    check()

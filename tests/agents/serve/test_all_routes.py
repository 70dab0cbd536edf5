"""What holds for every route of the table, so that a new one is held to it as well."""

from __future__ import annotations

import csv
import io
import re
from typing import Any, get_type_hints

import jsonschema
import msgspec
import pytest
from msgspec.inspect import BoolType, IntType, LiteralType, StrType, VarTupleType, type_info

from driftline.agents.serve.answers.answer import Problem
from driftline.agents.serve.route import Edge, Moment, Route
from driftline.agents.serve.route_table import ROUTES
from tests.agents.serve.cases import QUESTIONS
from tests.agents.serve.serving import Answered, Api, Value

BY_PATH = {route.path: route for route in ROUTES}
EACH = [
    pytest.param(BY_PATH[path], question, id=f"{path}-{place}")
    for path, questions in QUESTIONS.items()
    for place, question in enumerate(questions)
    if path in BY_PATH
]
EVERY = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
HOSTILE = (
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "\u202egnirts",
    "=1+1",
    "{{7*7}}",
    "\x1b[31mred",
    "../../etc/passwd",
    "%2e%2e%2f",
    "'; DROP TABLE figures; --",
    "🦙/🦙",
    "x" * 10_000,
    "null",
    "-1",
    "9" * 400,
)


def is_problem(found: Answered, *statuses: int) -> bool:
    """Whether a response says what was needed, what came and what to do."""
    assert found.status in statuses, found.body
    assert found.headers["content-type"] == "application/json"
    told = msgspec.json.decode(found.body, type=Problem)
    assert set(found.json) == set(Problem.__struct_fields__)
    assert told.status == found.status
    return bool(told.needed and told.remedy) and b"Traceback" not in found.body


def test_each_route_has_a_question() -> None:
    assert set(QUESTIONS) == set(BY_PATH)


@pytest.mark.parametrize(("route", "question"), EACH)
def test_the_answer_has_the_form_that_the_document_promises(
    api: Api, route: Route, question: dict[str, Value], document: dict[str, Any]
) -> None:
    found = api.ask(f"/api{route.path}", question)
    assert found.status == 200, found.body
    operation = document["paths"][f"/api{route.path}"]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(
        found.json
    )


@pytest.mark.parametrize(("route", "question"), EACH)
def test_the_table_has_a_header_and_rows_of_its_length(
    api: Api, route: Route, question: dict[str, Value]
) -> None:
    found = api.ask(f"/api{route.path}", {**question, "format": "csv"})
    assert found.status == 200, found.body
    assert found.headers["content-type"] == "text/csv; charset=utf-8"
    header, *rows = csv.reader(io.StringIO(found.body.decode()))
    assert len(set(header)) == len(header)
    assert {len(row) for row in rows} <= {len(header)}
    accepted = api.ask(f"/api{route.path}", question, headers={"Accept": "text/csv"})
    assert accepted.headers["content-type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize(("route", "question"), EACH)
def test_head_has_the_headers_of_get_and_no_body(
    api: Api, route: Route, question: dict[str, Value]
) -> None:
    one = api.ask(f"/api{route.path}", question)
    other = api.ask(f"/api{route.path}", question, method="HEAD")
    assert other.status == 200
    assert other.body == b""
    changing = {"date"} if route.is_timeless else {"date", "content-length", "etag"}
    assert {name: value for name, value in other.headers.items() if name not in changing} == {
        name: value for name, value in one.headers.items() if name not in changing
    }


@pytest.mark.parametrize(("route", "question"), EACH)
def test_an_answer_that_is_known_is_not_sent_again(
    api: Api, route: Route, question: dict[str, Value]
) -> None:
    if route.path == "/health":
        pytest.skip("the clock is part of the answer")
    tag = api.ask(f"/api{route.path}", question).headers["etag"]
    again = api.ask(f"/api{route.path}", question, headers={"If-None-Match": f'"x", {tag}'})
    if again.status == 200:
        # The source was looked at in between, and its time is part of the answer.
        assert not route.is_timeless
        return
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    other = api.ask(f"/api{route.path}", {**question, "format": "csv"})
    assert other.headers["etag"] != tag


@EVERY
def test_an_unknown_parameter_is_refused_with_those_there_are(api: Api, route: Route) -> None:
    found = api.ask(f"/api{route.path}", {**QUESTIONS[route.path][0], "nowhere": "1"})
    assert is_problem(found, 400)
    assert found.json["parameter"] == "nowhere"
    assert all(name in found.json["needed"] for name in route.query.__struct_fields__)


@EVERY
def test_a_missing_parameter_is_named(api: Api, route: Route) -> None:
    for field in msgspec.structs.fields(route.query):
        if field.required:
            question = {
                name: value
                for name, value in QUESTIONS[route.path][0].items()
                if name != field.name
            }
            found = api.ask(f"/api{route.path}", question)
            assert is_problem(found, 400)
            assert found.json["parameter"] == field.name
            assert found.json["got"] is None


@EVERY
def test_a_value_of_another_form_is_refused_with_its_parameter(api: Api, route: Route) -> None:
    hints = get_type_hints(route.query, include_extras=True)
    for field in msgspec.structs.fields(route.query):
        for wrong in wrong_values(hints[field.name]):
            question = {**QUESTIONS[route.path][0], field.name: wrong}
            found = api.ask(f"/api{route.path}", question)
            assert is_problem(found, 400), (field.name, wrong)
            assert found.json["parameter"] == field.name


@EVERY
def test_a_parameter_that_is_there_twice_is_refused(api: Api, route: Route) -> None:
    hints = get_type_hints(route.query, include_extras=True)
    for name, hint in hints.items():
        if not isinstance(type_info(hint), VarTupleType):
            question = {**QUESTIONS[route.path][0], name: ["a", "b"]}
            assert is_problem(api.ask(f"/api{route.path}", question), 400)


@EVERY
@pytest.mark.parametrize("text", ["model=%ff", "%zz=%", "&".join(["a=1"] * 200), "=", "\x7f=1"])
def test_an_address_that_is_no_question_is_refused(api: Api, route: Route, text: str) -> None:
    assert is_problem(api.ask(f"/api{route.path}", text=text), 400)


@EVERY
def test_hostile_texts_get_an_answer_or_a_problem(api: Api, route: Route) -> None:
    hints = get_type_hints(route.query, include_extras=True)
    for place, (name, hint) in enumerate(hints.items()):
        # Over all routes each kind of parameter gets each of the texts.
        first = place + 3 * ROUTES.index(route)
        for text in (HOSTILE[first % len(HOSTILE)], HOSTILE[(first + 5) % len(HOSTILE)]):
            question = {**QUESTIONS[route.path][0], name: text}
            found = api.ask(f"/api{route.path}", question)
            if found.status != 200:
                assert is_problem(found, 400, 404), (name, hint, text)
                assert len(found.body) < 3_000


@EVERY
def test_a_model_that_is_not_there_is_404_with_those_there_are(api: Api, route: Route) -> None:
    if "model" not in route.query.__struct_fields__:
        return
    found = api.ask(f"/api{route.path}", {**QUESTIONS[route.path][0], "model": "chrun"})
    assert is_problem(found, 404)
    assert found.json["parameter"] == "model"
    assert "churn" in found.json["needed"]
    found = api.ask(
        f"/api{route.path}", {**QUESTIONS[route.path][0], "model": "churn", "version": "9"}
    )
    assert is_problem(found, 404)
    assert "1.4.2" in found.json["needed"]


@EVERY
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(api: Api, route: Route, method: str) -> None:
    assert is_problem(api.ask(f"/api{route.path}", method=method), 405)


@EVERY
def test_before_the_first_record_nothing_is_there_and_nothing_fails(api: Api, route: Route) -> None:
    if "at" not in route.query.__struct_fields__:
        return
    question = {**QUESTIONS[route.path][0], "at": "1970-01-01T00:00:00Z"}
    found = api.ask(f"/api{route.path}", question)
    assert found.status in (200, 404), found.body


def test_the_document_names_every_route_and_parameter(document: dict[str, Any]) -> None:
    assert re.match(r"3\.1\.", document["openapi"])
    named = {path.removeprefix("/api") for path in document["paths"]}
    assert named == {*BY_PATH, "/events"}
    for path, route in BY_PATH.items():
        operation = document["paths"][f"/api{path}"]["get"]
        listed = [parameter["name"] for parameter in operation["parameters"]]
        assert listed == list(route.query.__struct_fields__)
        assert all(parameter["description"] for parameter in operation["parameters"])
        assert set(document["paths"][f"/api{path}"]) == {"get"}


def test_all_references_of_the_document_lead_somewhere(document: dict[str, Any]) -> None:
    references = set(
        re.findall(r"#/components/schemas/([\w.]+)", msgspec.json.encode(document).decode())
    )
    assert references <= set(document["components"]["schemas"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.ask("/schema/openapi.json").json
    return found


def wrong_values(hint: Any) -> list[str]:
    """Texts that are no value of a type."""
    info = type_info(hint)
    parts = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    wrong = []
    for part in parts:
        if isinstance(part, VarTupleType):
            part = part.item_type
        if isinstance(part, LiteralType):
            wrong += ["nowhere", ""]
        elif isinstance(part, IntType):
            wrong += ["x", "", "1.5", f"{(part.ge or 0) - 1}", f"{(part.le or 0) + 1}", "9" * 50]
        elif isinstance(part, BoolType):
            wrong += ["maybe", ""]
        elif isinstance(part, StrType):
            wrong += ["\0", ""] if part.min_length else ["\0"]
        elif isinstance(part, msgspec.inspect.CustomType):
            assert part.cls in (Moment, Edge)
            wrong += ["yesterday", "", "2025-06-02", "2025-13-02T00:00:00Z", "-1d", "12345"]
    return wrong

"""What pydantic refuses, said once and in our words, whatever shape the model has."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from service.config.faults import faults_of, in_order
from service.config.yaml_file import read_yaml
from service.errors import Fault


class Strict(BaseModel):
    """As the configuration's own models: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Token(Strict):
    """One member of a union told apart by a word."""

    scheme: Literal["token"]
    token: str
    header: int


class Basic(Strict):
    """The other member."""

    scheme: Literal["basic"]
    username: str


def by_type(value: object) -> str:
    return "many" if isinstance(value, list) else "one"


class Shape(Strict):
    """Every kind of place that an error can point into."""

    proof: Annotated[Token | Basic, Discriminator("scheme")] | None = None
    count: int | list[int] = 0
    table: dict[str, Basic] = {}
    pair: tuple[int, ...] = ()
    code: Annotated[str, Field(pattern="^[a-z]+$", description="The code, such as crm.")] = "crm"
    bare: Annotated[str, Field(pattern="^[a-z]+$")] = "crm"
    tagged: Annotated[Annotated[int, Tag("one")] | Annotated[list[int], Tag("many")], Discriminator(by_type)] = 0


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("count: x", "f:1:8: count: found text; allowed: a whole number or a list"),
        ("proof: {scheme: token, token: x, header: y}", "f:1:42: proof.header: found text; allowed: a whole number"),
        ("proof: {token: x}", "f:1:1: proof.scheme: found nothing; allowed: this key is required"),
        ("proof: {scheme: tokn}", "f:1:17: proof.scheme: found text 'tokn'; allowed: token, basic; did you"),
        ("proof: {scheme: 5}", "f:1:17: proof.scheme: found a whole number; allowed: token, basic"),
        ("proof: {scheme: basic, usernam: x}", "f:1:24: proof.usernam: found the key 'usernam'; allowed"),
        ("proof: 5", "f:1:8: proof: found a whole number; allowed: a mapping (keys and values)"),
        ("table: {a: {scheme: basic}}", "f:1:9: table.a.username: found nothing; allowed: this key is required"),
        ("pair: [1, x]", "f:1:11: pair[1]: found text; allowed: a whole number"),
        ("pair: {}", "f:1:7: pair: found an empty mapping; allowed: a list"),
        ("tagged: [1.5]", "f:1:10: tagged[0]: found a number; allowed: a whole number"),
        ('count: " "', "f:1:8: count: found blank text; allowed: a whole number or a list"),
        ("code: CRM", "f:1:7: code: found text; allowed: the code, such as crm (text like ^[a-z]+$)"),
        ("bare: CRM", "f:1:7: bare: found text; allowed: text like ^[a-z]+$"),
        ("[]", "f:1:1: found an empty list; allowed: a mapping (keys and values)"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_line_at_its_place(text: str, report: str) -> None:
    assert said(text).startswith(report)
    assert "|" not in said(text)


def said(text: str) -> str:
    document = read_yaml(text, name="f", variable=str)
    with pytest.raises(ValidationError) as caught:
        Shape.model_validate(document.value)
    return "|".join(str(fault) for fault in faults_of(caught.value.errors(), document, shape=Shape))


def test_faults_are_in_file_order_those_of_the_environment_first_and_each_once() -> None:
    places = ["b.yaml:2:1", "a.yaml:10:1", "a.yaml:9:12", "a.yaml:9:2", ".env:3", "environment", "/run/secrets/x"]
    faults = [Fault(place, "", "x", "y") for place in [*places, "environment"]]
    assert [fault.where for fault in in_order(faults)] == [
        "environment", ".env:3", "/run/secrets/x", "a.yaml:9:2", "a.yaml:9:12", "a.yaml:10:1", "b.yaml:2:1",
    ]  # fmt: skip


def test_a_validator_s_own_words_are_kept_unless_a_variable_may_be_in_them() -> None:
    error: Any = {
        "type": "value_error",
        "loc": ("a",),
        "msg": "Value error, the word xyz is odd",
        "input": "",
        "ctx": {},
    }
    plain = read_yaml("a: xyz", name="f", variable=str)
    (fault,) = faults_of([error], plain, shape=Shape)
    assert str(fault) == "f:1:4: a: found text; allowed: the word xyz is odd"
    hidden = read_yaml("a: ${X}", name="f", variable=lambda _: "xyz")
    (fault,) = faults_of([error], hidden, shape=Shape)
    assert str(fault) == "f:1:4: a: found the text of ${X}; allowed: another value"

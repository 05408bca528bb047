"""A mapping as it is proposed from a few records, without a log."""

import re
from pathlib import Path
from typing import Any

from service.config import load
from service.model import Json, Record
from service.operations.suggest.proposal import propose
from service.operations.suggest.survey import Survey
from service.operations.suggest.written import Written
from tests.support.clock import START
from tests.support.log import change

ENTRY: dict[str, Json] = {
    "preset": "generic",
    "verify": {"scheme": "token", "token": "${CRM_TOKEN}", "header": "X-Token"},
    "parse": {"event_id": "id", "object_id": "contact.id", "values": "contact"},
    "resolve": ["link", {"email": "email"}],
    "mapping": {"first_name": "first"},
}
ENVIRON = {"CRM_TOKEN": "t-0c6d1b7e4f524a7e", "CRM_SECRET": "00" * 32, "CRM_TOKEN_2": "x"}


def survey_of(*records: Record, thin: bool = False) -> Survey:
    """Look at one change of each record, the newest first."""
    survey = Survey()
    for number, values in enumerate(records):
        survey.add(change(f"k{number}", str(number), values=values, thin=thin))
    return survey


def proposed(*records: Record) -> dict[str, Any]:
    """The rules that are proposed for the standard fields."""
    return {one.target: one.rule for one in propose(survey_of(*records)).standard}


def custom(*records: Record) -> dict[str, Any]:
    """The rules of the custom attributes that are named."""
    return {one.target: one.rule for one in propose(survey_of(*records)).custom}


def written(survey: Survey, entry: dict[str, Json] = ENTRY, **how: Any) -> str:  # noqa: ANN401  # as Written
    """The file that is proposed."""
    how = {"define": None, "secrets": frozenset(), **how}
    return Written("crm", entry, how["define"], how["secrets"]).text(survey, propose(survey), (START, START))


def uncommented(text: str) -> str:
    """The file with every further field taken in."""
    return re.sub(r"^(      )# (custom:|  .*)$", r"\1\2", text, flags=re.MULTILINE)


def rules_of(text: str, directory: Path, source: str = "crm") -> Any:  # noqa: ANN401  # Rules
    """Load a file as the service does."""
    (directory / "proposed.yaml").write_text(text, encoding="utf-8")
    loaded = load(ENVIRON, config_file=directory / "proposed.yaml", env_file=directory / "no.env", need_api_key=False)
    return loaded.sources[source].rules


AMARA: dict[str, Json] = {"first_name": "Amara", "last_name": "Okafor", "email": "amara.okafor@northwind.example"}

"""A proposal as the text of a configuration file, each rule under what it rests on; pure."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from service.mapping.targets import CUSTOM_PREFIX
from service.model import Json
from service.operations.suggest.findings import told
from service.operations.suggest.proposal import Proposal, Proposals
from service.operations.suggest.survey import Survey

_BARE: Final = re.compile(r"[A-Za-z][\w.-]*(?: [\w.-]+)*")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_MAPPING: Final = "mapping"


class Written:
    """The file with one source in it: as it stands in the configuration, but for its mapping."""

    def __init__(self, name: str, entry: Mapping[str, Json], define: Json, secrets: frozenset[str]) -> None:
        self._name = name
        self._entry = entry
        self._define = define
        self._secrets = secrets

    def text(self, survey: Survey, proposals: Proposals, span: tuple[datetime, datetime]) -> str:
        """Write the whole file. It loads as it is."""
        lines = [
            f"# Proposed from {survey.changes:,} changes of {survey.records:,} records, received {_days(span)}.",
            "# Examples are masked. Read it through, then `check`, `backtest` and use it; other sources are not in it.",
            *(
                ["# The records have more paths than are counted: those that came last are not in it."]
                if survey.beyond
                else []
            ),
        ]
        if self._define is not None:
            lines.append(f"define: {_flow(self._define)}")
        lines += ["sources:", f"  {_scalar(self._name)}:"]
        for key, value in self._entry.items():
            if key != _MAPPING:
                lines.append(f"    {key}: {_flow(self._without_secrets(value, key))}")
        lines += [f"    {_MAPPING}:", *self._rules(survey, proposals)]
        return "\n".join(lines) + "\n"

    def _rules(self, survey: Survey, proposals: Proposals) -> Iterator[str]:
        for one in proposals.standard:
            yield from (f"      {line}" for line in _lines(one, one.target, survey.records))
        aside = ""
        if proposals.custom and proposals.standard:
            aside = "# "
            yield "      # further fields: take the `# ` away before `custom:`, and before what is wanted below it"
        if proposals.custom:
            yield f"      {aside}custom:"
        for one in proposals.custom:
            name = one.target.removeprefix(CUSTOM_PREFIX)
            yield from (f"      {aside}  {line}" for line in _lines(one, name, survey.records))

    def _without_secrets(self, value: Json, key: str) -> Json:
        """Put a variable in the place of a secret that stands in the file itself."""
        if isinstance(value, dict):
            return {name: self._without_secrets(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [self._without_secrets(item, key) for item in value]
        if isinstance(value, str) and value in self._secrets:
            return "${" + re.sub(r"\W", "_", f"{self._name}_{key}").upper() + "}"
        return value


def _lines(one: Proposal, name: str, records: int) -> Iterator[str]:
    yield f"# {told(one.seen, records)}"
    yield from (f"# {finding}" for finding in one.findings)
    rule = _escaped(one.rule)
    yield f"{_scalar(name)}: {_flow(rule)}"


def _days(span: tuple[datetime, datetime]) -> str:
    return f"{span[0]:%Y-%m-%d} to {span[1]:%Y-%m-%d}"


def _escaped(rule: Any) -> Any:  # noqa: ANN401  # a rule's parts
    """Write ``${`` so that it is no variable's beginning."""
    if isinstance(rule, dict):
        return {key: _escaped(value) for key, value in rule.items()}
    if isinstance(rule, list):
        return [_escaped(item) for item in rule]
    return rule.replace("${", "$${") if isinstance(rule, str) else rule


def _flow(value: Any) -> str:  # noqa: ANN401  # whatever YAML can hold
    """Write a value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:  # noqa: ANN401  # as _flow
    if isinstance(value, str) and _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if isinstance(value, str) and '"' in value and "'" not in value and value.isprintable():
        return f"'{value}'"
    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value)
    return orjson.dumps(value).decode()

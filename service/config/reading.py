"""The configuration file → configured sources, and everything that is wrong with it."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from service.config.content import content_of
from service.config.faults import faults_of
from service.config.file import FileShape, NoAuth, Proof, SourceSpec, source_model, takes_verify
from service.config.layers import Layered, layered
from service.config.settings import DEFAULT_ACCOUNT
from service.config.variables import nearest
from service.config.yaml_file import BYTES_MAX, Document, KeyPath, read_yaml, references, written
from service.errors import Fault
from service.mapping import Rules
from service.model import Json
from service.pipeline import ConfiguredSource
from service.readback import READERS
from service.readback.base import Reader
from service.sources import PRESETS
from service.sources.base import Source, Strict

_USUAL: Final = {preset: source.usual_mapping for preset, source in PRESETS.items()}
_TARGET: Final = "at least one field, such as first_name: first_name"


class ConfigurationFile:
    """The file as read: ``sources`` that are right, and ``faults``. Never raises.

    ``only`` limits both to the sources named. ``accounts`` and ``signs_url`` tell what the sources need of settings.
    """

    def __init__(self, path: Path, variable: Callable[[str], str | Fault], *, only: Collection[str] | None) -> None:
        self._only = only
        self._document = Document(str(path))
        self._layered = Layered(self._document)
        self.sources: dict[str, ConfiguredSource] = {}
        self.accounts: dict[str, str] = {}
        self.signs_url: str | None = None
        self.faults: list[Fault] = []
        text = read_text(path)
        self.mentioned = None if isinstance(text, Fault) else references(text)
        if isinstance(text, Fault):
            self.faults.append(text)
            return
        self._layered = layered(read_yaml(text, name=str(path), variable=variable), _USUAL)
        self._document = self._layered.document
        self.faults += [fault for at, fault in self._document.faults if self._concerns(at)]
        if self._document.positions:
            self._read()

    @property
    def document(self) -> Document:
        """The file with whole rules, and every place in it."""
        return self._document

    @property
    def content(self) -> Json:
        """What the file comes down to, with ``${NAME}`` as written but in rules."""
        return {"sources": content_of(self._document.value, self._document.unresolved)}

    def require_accounts(self, known: list[str]) -> None:
        """Record a fault for each source whose account is not set."""
        for name, account in self.accounts.items():
            if account not in known:
                path = ("sources", name, "account")
                allowed = ", ".join(known) + "; further ones are set by CHARTMOGUL_ACCOUNTS"
                found = "the name of an account that is not set"
                self._refuse(path, found, allowed, near=nearest(account, known))

    def _read(self) -> None:
        self._add([fault for at, fault in self._layered.faults if self._concerns(at)])
        try:
            FileShape.model_validate(self._document.value)
        except ValidationError as error:
            errors = [each for each in error.errors(include_url=False) if self._concerns(each["loc"][:2])]
            self._add(faults_of(errors, self._document, shape=FileShape))
        sources = self._document.value.get("sources") if isinstance(self._document.value, dict) else None
        named = sources if isinstance(sources, dict) else {}
        for name, entry in named.items():
            if isinstance(entry, dict) and self._concerns(("sources", name)):
                self._source(name, entry)
        for name in self._only or ():
            if name not in named:
                found = f"no source {name!r}"
                self._refuse(
                    ("sources",), found, ", ".join(named) or "no source at all", near=nearest(name, list(named))
                )

    def _concerns(self, path: KeyPath) -> bool:
        return self._only is None or len(path) < 2 or path[0] != "sources" or path[1] in self._only  # noqa: PLR2004  # sources.NAME

    def _source(self, name: str, entry: dict[str, Json]) -> None:
        path, preset = ("sources", name), entry.get("preset")
        account = entry.get("account", DEFAULT_ACCOUNT)
        if isinstance(account, str):
            self.accounts[name] = account
        known = preset if isinstance(preset, str) and preset in PRESETS else None
        model = source_model(known, proof=_proof(known, entry))
        try:
            spec = model.model_validate(entry)
        except ValidationError as error:
            self._add(faults_of(error.errors(include_url=False), self._document, shape=model, prefix=path))
            return
        said = {"mapping": spec.mapping, "on_deleted": spec.on_deleted}
        silent = [key for key, mapping in said.items() if mapping is not None and not any(mapping.rules())]
        if name in self._layered.incomplete:
            return
        for key in silent:
            self._refuse((*path, key), "no field", _TARGET)
        if not silent:  # and the preset is known: the model of an unknown one takes nothing
            rules = Rules.parse({key: entry[key] for key in ("mapping", "when", "on_deleted") if key in entry})
            self.sources[name] = self._configured(name, str(preset), spec, rules)

    def _configured(self, name: str, preset: str, spec: SourceSpec, rules: Rules) -> ConfiguredSource:
        source_type = PRESETS[preset]
        source = source_type(name, _auth(source_type, spec), getattr(spec, "parse", None))
        if source.signs_url:
            self.signs_url = name
        return ConfiguredSource(
            name=name,
            source=source,
            account=spec.account,
            rules=rules,
            resolve=spec.steps(preset),
            on_unknown=spec.on_unknown,
            on_ambiguous=spec.on_ambiguous,
            settle=source_type.usual_settle if spec.settle is None else spec.settle.as_settle(),
            admission=spec.admission(),
            reader=_reader(preset, spec),
            deliver=spec.deliver,
            layers=self._layered.layers[name],
        )

    def _refuse(self, path: KeyPath, found: str, allowed: str, *, near: str | None = None) -> None:
        self._add([Fault(self._document.where(path), written(path), found, allowed, near)])

    def _add(self, faults: list[Fault]) -> None:
        """Record faults, but for those that only follow from what could not be read at the same place."""
        unread = {fault.where for _, fault in self._document.faults}
        known = {(fault.where, fault.path) for fault in self.faults}
        self.faults += [
            fault for fault in faults if fault.where not in unread and (fault.where, fault.path) not in known
        ]


def read_text(path: Path) -> str | Fault:
    """Return the text of a configuration file of at most 1 MiB, or the fault that it cannot be had."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(BYTES_MAX + 1)
        if len(raw) <= BYTES_MAX:
            return raw.decode("utf-8-sig")
        found = f"more than {BYTES_MAX} bytes"
    except FileNotFoundError:
        found = "no file"
    except IsADirectoryError:
        found = "a directory (a container runtime makes one where a file to mount is missing)"
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8-sig")
        where = f"{path}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
        return Fault(where, "", "bytes that are not UTF-8", "a file that is saved as UTF-8")
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        found = f"a file that cannot be read ({type(error).__name__})"
    return Fault(str(path), "", found, f"UTF-8 YAML of at most {BYTES_MAX} bytes; CONFIG_FILE or --config says where")


def _proof(preset: str | None, entry: dict[str, Json]) -> Proof:
    """Say how senders are proved: as the preset does, not at all, or by ``verify``, where a preset has it."""
    auth = entry.get("auth")
    if auth == "none" or (isinstance(auth, dict) and "none" in auth):
        return "none"
    return "verify" if "auth" not in entry and takes_verify(preset) else "auth"


def _reader(preset: str, spec: SourceSpec) -> Reader[Any] | None:
    """Return how the CRM's records are read, None where nothing is said of it."""
    read_back = getattr(spec, "read_back", None)
    return None if read_back is None else READERS[preset](read_back)


def _auth(source_type: type[Source[Any]], spec: SourceSpec) -> Strict | None:
    verify = getattr(spec, "verify", None)
    if verify is not None:
        return source_type.Auth.model_validate({"verify": verify})
    auth: Strict = spec.auth  # type: ignore[attr-defined]  # the models of known presets have it
    return None if isinstance(auth, NoAuth) else auth

"""What fields are called in the field: which names mean which target; pure."""

import re
from collections.abc import Sequence
from typing import Final

SYNONYMS: Final = {
    "first_name": ("firstname", "givenname", "forename", "fname", "vorname", "prenom", "first", "given"),
    "last_name": ("lastname", "familyname", "surname", "lname", "nachname", "nom", "last", "family"),
    "email": ("email", "emailaddress", "emailaddress1", "primaryemail", "workemail", "mail", "contactemail"),
    "phone": ("phone", "phonenumber", "telephone", "telephone1", "mobile", "mobilephone", "workphone", "phones", "tel"),
    "title": ("jobtitle", "title", "jobrole", "jobposition", "position", "role", "jobfunction", "occupation"),
    "linked_in": ("linkedin", "linkedinurl", "linkedinprofile", "linkedinprofileurl", "hslinkedinurl", "linkedinid"),
    "twitter": ("twitter", "twitterhandle", "twitterusername", "twitterurl", "twitterprofile", "twitterid", "xhandle"),
    "notes": ("notes", "note", "description", "about", "comments", "comment", "background", "summary", "bio"),
    "last_seen": (
        "lastseen",
        "lastseenat",
        "lastactiveat",
        "lastactive",
        "lastactivity",
        "lastactivityat",
        "lastactivitydate",
        "lastloginat",
        "lastlogin",
        "lastrequestat",
        "lastvisit",
    ),
}
"""By target, the most telling name first. A contact's rank and its id in another system are no CRM's to know."""
FULL_NAME: Final = ("fullname", "name", "displayname", "contactname", "personname", "completename")
"""Names of a field with both the first name and the last."""
PERSONAL: Final = re.compile(
    r"(?i)name|vorname|prenom|e-?mail|phone|mobile|\btel|fax|address|street|\bcity|zip|post_?code|birth|\bdob|"
    r"owner|author|creat(?:ed|or)|updat(?:ed|er)|assign|manager|agent|\brep\b|gender|passport|\bssn|iban|login|user|avatar|photo|\bip\b|comment|note|linkedin|twitter|skype|"
    r"\bsex|religio|salary|income|health|adress|stra(?:ss|ß)e|\bplz|\bort\b|geburt|betreuer|besitzer|bearbeiter|nombre|responsable"
)
"""Names of fields whose values are a person's own, however few of them there are."""

NAME_MAX: Final = 100
"""Characters of a custom attribute's name that is proposed."""

_WRAPPERS: Final = frozenset(
    {"value", "values", "email", "emailaddress", "phone", "phonenumber", "number", "address", "original", "formatted"}
)
"""Keys that only say again what the key above them says."""
_NOT_LETTERS: Final = re.compile(r"[^a-z0-9]")
_EXACT, _ABOVE, _TOGETHER, _ENDING = 100, 85, 70, 50
_LATER: Final = 4
"""How much less each further name of a target counts."""
_ENDING_MIN: Final = 5
"""Letters of a name that a longer one may end in."""


def score(target: str, keys: Sequence[str]) -> int:
    """Say how well the keys on the way to a value name a target: 0 for not at all."""
    return score_by(SYNONYMS[target], keys)


def score_by(names: Sequence[str], keys: Sequence[str]) -> int:
    """The same for names of any other kind."""
    plain = [_plain(key) for key in keys] or [""]
    above, last = (plain[-2] if len(plain) > 1 else ""), plain[-1]
    tries = [(last, _EXACT), (above + last, _TOGETHER), (last + above, _TOGETHER)]
    if last in _WRAPPERS and above:
        tries += [(above, _ABOVE), (above.removesuffix("s"), _ABOVE), (above.removesuffix("es"), _ABOVE)]
    best = 0
    for place, name in enumerate(names):
        exact = max((worth for word, worth in tries if word == name), default=0)
        ends = _ENDING if len(name) >= _ENDING_MIN and last.endswith(name) else 0
        best = max(best, max(exact, ends) - _LATER * place if exact or ends else 0)
    return best


def readable(keys: Sequence[str], path: str) -> str:
    """Make a custom attribute's name of the keys to a value, or of its selector where that says more."""
    label = re.findall(r"\[\?[\w]+=([^\]]+)\]", path)
    last = label[-1] if label else next((key for key in reversed(keys) if _plain(key) not in _WRAPPERS), keys[-1])
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_.\-:/]+", " ", last).split()
    name = " ".join(words)[:NAME_MAX].strip() or "Field"
    return name[:1].upper() + name[1:]


def _plain(key: str) -> str:
    return _NOT_LETTERS.sub("", key.lower())

"""A little of the fuzz run, for each way to prove a sender; ``make fuzz`` is the same for longer."""

from collections import Counter
from functools import partial

import pytest

from service.model import InboundRequest
from service.sources import PRESETS
from tests.fuzz.house import house
from tests.fuzz.judge import ACCEPTED, NOT_PROVED, judged
from tests.fuzz.requests import KINDS, resigned_requests
from tests.fuzz.run import examine, fuzz, requests_for, shown
from tests.fuzz.ways import WAYS
from tests.support.crm import Crm

EXAMPLES = 60
IN_WEB = 24

every = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


def test_every_preset_is_reached() -> None:
    assert {way.preset for way in WAYS} == set(PRESETS)
    assert len({way.name for way in WAYS}) == len(WAYS)


@every
def test_a_request_with_nothing_right_in_it_is_only_ever_refused(way: Crm) -> None:
    outcomes: Counter[str] = Counter()
    examine(partial(judged, way, "random"), KINDS["random"](way), EXAMPLES, outcomes)
    assert outcomes[NOT_PROVED] > 0


@every
def test_a_request_altered_on_the_way_raises_only_the_documented_errors(way: Crm) -> None:
    outcomes: Counter[str] = Counter()
    examine(partial(judged, way, "altered"), KINDS["altered"](way), EXAMPLES, outcomes)
    assert len(outcomes) > 1, "some of it matters, and some does not"


@every
def test_a_body_that_the_crm_would_not_make_raises_only_the_documented_errors_behind_its_proof(way: Crm) -> None:
    """A CRM that changes its mind about a type must not look like a fault of ours."""
    outcomes: Counter[str] = Counter()
    examine(partial(judged, way, "resigned"), KINDS["resigned"](way), EXAMPLES, outcomes)
    assert outcomes[ACCEPTED] > 0
    assert outcomes["malformed"] > 0


@every
def test_whatever_arrives_is_logged_whole_or_leaves_nothing_but_its_refusal(way: Crm) -> None:
    outcomes: Counter[str] = Counter()
    with house(way) as opened:
        examine(opened.judged, requests_for(way), IN_WEB, outcomes)
    assert outcomes.total() >= IN_WEB


def test_one_seed_gives_one_run() -> None:
    way = WAYS[0]
    once, again, other = (fuzz(way, requests=48, seed=seed) for seed in (7, 7, 8))
    assert list(once.lines()) == list(again.lines())
    assert once.outcomes != other.outcomes
    assert once.requests >= 48


def test_what_is_found_is_raised_with_the_smallest_request_that_does_it() -> None:
    way = WAYS[0]

    def judge(request: InboundRequest) -> str:
        return {True: "refused"}[b"Amara" in request.body]

    with pytest.raises(KeyError) as found:
        examine(judge, resigned_requests(way), 200, Counter(), seed=7)
    (note,) = [note for note in found.value.__notes__ if note.startswith("InboundRequest(")]
    assert "Amara" not in note


def test_a_request_is_shown_so_that_it_can_be_made_again() -> None:
    request = InboundRequest("POST", "https://hooks.northwind.example/", {"a": "\ud800"}, b"\xff")
    assert shown(request) == "InboundRequest('POST', 'https://hooks.northwind.example/', {'a': '\\ud800'}, b'\\xff')"

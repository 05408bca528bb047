"""Whatever switches when: nothing goes out in shadow mode, and once all is live each contact holds what it must."""

from typing import Final

from service.model import Known
from tests.model.acts import Act, Deliver, Go, Land, Reclaim, Rest, Tell, Wait, WaitUntilDue
from tests.model.crms import PEOPLE
from tests.model.examples import HUBSPOT, OLDER_MAY_LAND, PIPEDRIVE
from tests.model.house import ACCOUNT, House
from tests.model.machine import run
from tests.model.play import play, step
from tests.model.shadow import LookAfter, ShadowJourney, Switch
from tests.model.tries import Seam
from tests.model.world import World

EXAMPLES: Final = 30
STEPS: Final = 25

A_LANDS: Final[tuple[Act, ...]] = (Land(), Wait("until nothing can land late"))
"""The older A comes over B, which is to be sent once more."""


def test_all_is_as_it_must_be_whatever_switches(opened: House) -> None:
    """The same examples in every run; ``python -m tests.model --shadow`` draws others, and more of them."""
    run(opened, examples=EXAMPLES, steps=STEPS, machine=ShadowJourney)


def test_what_a_source_owed_a_contact_is_mended_by_another_that_is_live(opened: House) -> None:
    """The delivery that was to send B once more is Pipedrive's, which is only watched by then."""
    newer: list[Act] = [Tell(HUBSPOT, {"title": "B"}), Deliver()]
    older: list[Act] = [Tell(PIPEDRIVE, {"title": "A"}, age_s=1), Deliver("closed, lands late"), Switch("pipedrive")]
    play(opened, [*older, *newer, WaitUntilDue(), Deliver(), *A_LANDS, LookAfter(), Rest()])


def test_what_no_live_source_can_mend_is_mended_once_one_is(opened: House) -> None:
    watched: list[Act] = [Switch("pipedrive"), *A_LANDS, Deliver(), LookAfter(), Rest()]
    play(opened, [*OLDER_MAY_LAND, *watched, Switch("pipedrive", shadow=False), Rest()])


def test_a_try_that_was_under_way_at_the_switch_ends_as_it_began(opened: House) -> None:
    """Watched, it ends as shadowed though its source is live by then; and goes out all the same."""
    watched: list[Act] = [Switch("pipedrive"), Tell(PIPEDRIVE, {"title": "A"}), Deliver(until=Seam.RECORDING)]
    play(opened, [*watched, Switch("pipedrive", shadow=False), LookAfter(), Go(), Rest()])


def test_a_try_that_loses_its_lease_in_shadow_mode_leaves_no_doubt(opened: House) -> None:
    """What was never sent cannot land: neither its own conclusion says so, nor whoever holds the contact next."""
    world = World(opened)
    watched: list[Act] = [Switch("pipedrive"), Tell(PIPEDRIVE, {"title": "A"})]
    late: list[Act] = [Deliver(until=Seam.RECORDING), Wait("a lease"), Reclaim(), Go()]
    uuid = PEOPLE[PIPEDRIVE].uuid
    try:
        for act in (*watched, *late):
            opened.run(step(world, act))
        assert opened.run(world.store.contacts.known(ACCOUNT, uuid)) == Known()
        opened.run(step(world, Deliver()))
        known = opened.run(world.store.contacts.known(ACCOUNT, uuid))
        assert (known.doubts, list(known.shadow or {})) == ((), ["title"])
    finally:
        opened.run(world.close())

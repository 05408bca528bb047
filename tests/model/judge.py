"""What may never happen, judged as it happens: an older value over a newer, two calls at once, a call for nothing."""

from typing import Any, Final

from service.model import Conclusion, EventState, Next, Outcome, OutcomeKind
from tests.model.tries import Patch, Try
from tests.model.truth import Order, Truth, same
from tests.model.weather import RETRY_FOR
from tests.support.clock import Clock
from tests.support.sandbox import RunningSandbox

OLDEST: Final[Order] = (-(2**63), 0)
HARMLESS: Final = frozenset(
    {
        OutcomeKind.APPLIED,
        OutcomeKind.RATE_LIMITED,
        OutcomeKind.UNREACHABLE,
        OutcomeKind.ACCOUNT_REFUSED,
        OutcomeKind.CONTACT_GONE,
        OutcomeKind.REJECTED,
    }
)
"""Outcomes of a PATCH that leave no question open."""
DEADLY: Final = {
    OutcomeKind.REJECTED: {"422", "404"},
    OutcomeKind.CONTACT_GONE: {"404"},
    OutcomeKind.SERVER_ERROR: {"500", "500, applied"},
}
"""What may kill a delivery, and the weather in which it does: in a search a 404 is a refusal."""


class Judge:
    """Knows what went out and what was recorded, from the tries alone."""

    def __init__(self, truth: Truth, sandbox: RunningSandbox, clock: Clock) -> None:
        self.patches = 0
        """Calls of the service that would change a contact."""
        self.landings = 0
        """Of those, the ones that were applied when nobody waited for them any more."""
        self.unnamed: set[tuple[str, str]] = set()
        """Records whose link was forgotten, or of which changes were replayed one by one: what is left of them may not
        say any more who they are."""
        self._truth = truth
        self._sandbox = sandbox
        self._clock = clock
        self._recorded: dict[tuple[str, str], Order] = {}
        self._changes: dict[str, int] = {}
        self._shaken: set[str] = set()

    def held(self, uuid: str) -> dict[str, Any]:
        """Return what a contact holds, by our names of the fields."""
        contact = self._sandbox.contact(uuid)
        return contact | {f"custom.{name}": value for name, value in contact["custom"].items()}

    def searches(self, trying: Try) -> None:
        """Remember how often each contact had been changed when it was read."""
        trying.searched_at = dict(self._changes)

    def holds(self, trying: Try, uuid: str, before: Try | None) -> None:
        """A contact is taken with the lease alone, and from another try only once that has lost its own."""
        assert not trying.lost, "a contact was taken without the lease"
        trying.uuid = uuid
        if before is not None:
            assert before.lost or self._clock() >= before.lease_until, "a contact was taken from its owner"
            before.overtaken_at = before.overtaken_at or self._clock()
            self._shaken.add(uuid)

    def sends(self, trying: Try, patch: Patch, *, alone: bool) -> None:
        """A try sends once; while its lease holds, nothing that is older than recorded, and nothing that is there."""
        assert not trying.shadow, "a PATCH goes out in shadow mode"
        self.patches += 1
        trying.sent += 1
        assert trying.sent == 1, "one try sends twice"
        if trying.lost or trying.overtaken_at is not None or self._clock() >= trying.lease_until:
            self._shaken.add(patch.uuid)
            return
        assert alone, "two PATCHes of one contact are under way"
        for name, value in patch.fields().items():
            newer = self._truth.since(patch.uuid, name, self._recorded.get((patch.uuid, name), OLDEST))
            assert any(same(value, one) for one in newer), f"an older value of {name} goes out than is recorded"
        if patch.uuid not in self._shaken:
            self._judge_need(trying, patch)

    def _judge_need(self, trying: Try, patch: Patch) -> None:
        """Where all went well so far, a value goes out only if it is not there, as far as the service can know.

        It knows what it recorded, and what it read in this try; of two that do not agree it believes neither.
        """
        held = self.held(patch.uuid)
        read = trying.searched_at
        current = read is not None and read.get(patch.uuid) == self._changes.get(patch.uuid)
        for name, value in patch.fields().items():
            if current or (read is None and (patch.uuid, name) in self._recorded):
                assert not same(value, held.get(name)), f"{name} is sent, and is there already"

    def answered(self, patch: Patch, outcome: Outcome) -> None:
        """Note what a PATCH came to."""
        self._changes[patch.uuid] = self._changes.get(patch.uuid, 0) + 1
        if outcome.kind not in HARMLESS:
            self._shaken.add(patch.uuid)

    def landed(self, patch: Patch) -> None:
        """Note that a PATCH landed late."""
        self.landings += 1
        self._changes[patch.uuid] = self._changes.get(patch.uuid, 0) + 1
        self._shaken.add(patch.uuid)

    def left(self, trying: Try) -> None:
        """Note that nobody will record what a try does."""
        if trying.uuid is not None:
            self._shaken.add(trying.uuid)

    def ended(self, trying: Try) -> None:
        """A try records only with its lease, and what it confirms is never older than what was confirmed before."""
        done = trying.conclusion
        if trying.lost or trying.overtaken_at is not None:
            assert done is None, "a try was recorded that had lost its lease"
            return
        if done is None:
            assert not trying.sent, "a PATCH went out, and nobody wrote that down"
            return
        if done.verdict.next is Next.DEAD:
            self._judge_death(trying, done)
        uuid = done.attempt.contact_uuid
        for name, known in done.confirmed.items():
            assert uuid is not None
            assert known.order >= self._recorded.get((uuid, name), OLDEST), f"the order of {name} goes back"
            self._recorded[uuid, name] = known.order
        if done.attempt.outcome.kind is OutcomeKind.APPLIED and uuid not in self._shaken:
            carriers = [end for end in done.dispositions if end.state is EventState.DELIVERED]
            assert len(carriers) == 1, "a PATCH was for no change, or for several"

    def _judge_death(self, trying: Try, done: Conclusion) -> None:
        """Nothing dies but of an answer that says so, or of three days of failures."""
        kind, record = done.attempt.outcome.kind, (trying.delivery.source, trying.delivery.object_id)
        since = trying.delivery.failing_since
        if since is not None and self._clock() - since >= RETRY_FOR:
            return
        if kind is OutcomeKind.CONTACT_GONE:
            self.unnamed.add(record)
        if kind is OutcomeKind.CONTACT_UNKNOWN:
            assert record in self.unnamed, "a person was not found who is there"
        else:
            assert kind in DEADLY, f"dead of {kind.value}"
            assert trying.struck & DEADLY[kind], "dead in fair weather"

    def calm(self) -> None:
        """Forget what went wrong: all of it was made good."""
        self._shaken.clear()

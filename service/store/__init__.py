"""The log: everything that is kept, and every SQL statement there is. One transaction a method."""

from service.store.accounts import Accounts
from service.store.configurations import Configurations
from service.store.contacts import Contacts
from service.store.database import Database
from service.store.deliveries import Deliveries
from service.store.drifts import Drifts
from service.store.erase import Eraser
from service.store.intake import Intake
from service.store.ledger import Ledger
from service.store.links import Links
from service.store.migrate import migrate
from service.store.refusals import Refusals
from service.store.replay import Replays
from service.store.retention import Retention
from service.store.shadow import Shadows

__all__ = ["Store"]


class Store:
    """The log's parts over one database, each the business of one side of the program.

    Every method may raise StoreUnavailable: then nothing was written, and it may be tried again.
    """

    def __init__(self, url: str, *, waiting_max: int = 4096) -> None:
        self._database = Database(url)
        self.intake = Intake(self._database, waiting_max=waiting_max)
        self.deliveries = Deliveries(self._database)
        self.contacts = Contacts(self._database)
        self.links = Links(self._database)
        self.accounts = Accounts(self._database)
        self.configurations = Configurations(self._database)
        self.refusals = Refusals(self._database)
        self.drifts = Drifts(self._database)
        self.ledger = Ledger(self._database)
        self.replays = Replays(self._database)
        self.shadows = Shadows(self._database)
        self.eraser = Eraser(self._database)
        self.retention = Retention(self._database)

    @property
    def engine(self) -> str:
        """The database's kind: ``sqlite`` or ``postgresql``."""
        return self._database.dialect

    @property
    def embedded(self) -> bool:
        """Say whether this is a file that one service has for itself."""
        return self.engine == "sqlite"

    def lock(self) -> None:
        """Take an embedded store for this process alone. Raises StoreUnavailable when another service has it."""
        self._database.lock()

    async def migrate(self) -> bool:
        """Bring the tables to the newest version; return whether there was anything to do."""
        return await migrate(self._database)

    async def check(self) -> None:
        """Return if the log can be written. Raises StoreUnavailable otherwise."""
        await self.accounts.check()

    async def close(self) -> None:
        """Give every connection back."""
        await self._database.close()

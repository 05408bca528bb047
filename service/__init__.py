"""A CRM says a contact changed; we prove it, log it, map it, and bring the ChartMogul contact up to date.

However often, in whatever order and through whatever failure we are told. The program has two halves that meet only
in the log (``store``):

Receive: ``web.hooks`` → ``pipeline.receive`` → ``sources`` (verify, parse) → ``store.append`` → answer.
Deliver: ``worker`` → ``pipeline.deliver`` → ``store`` → ``mapping`` → ``coalesce`` → ``resolver`` → ``chartmogul`` →
``retry`` → ``store.record``.

The storeys, top to bottom; a room imports only from those below its own (``lint-imports`` says so):

cli         operator verbs
main        composition root: everything is built here, from settings
reload      a changed configuration comes into force, or is refused
upkeep      what is done now and then, by the clock alone
clients     whom the service calls, as what is in force needs them
web         HTTP in: webhooks, health, API   worker   the loop that claims due deliveries
config      environment and mapping file → validated values
operations  what an operator asks for that is more than one call
pipeline    the two journeys, step by step
resolver    which ChartMogul contact is this?      limiter  a turn for each call to ChartMogul
sources     one file per CRM: verify, parse  mapping  CRM fields → ChartMogul fields
shadow      what would have been sent, where nothing is
drift       what the rules rely on and no longer get
coalesce    many events → one patch          retry    outcome → verdict
store       the log: every SQL statement     chartmogul  the only code that talks to ChartMogul
readback    the CRM's present record, where its events are thin; the only code that talks to CRMs
schema      the tables; migrations beside it paths  the path language, pace  how fast an account is called
times       what instants look like          wire     how HTTP answers are read
errors      the exception tree               model    the nouns
sandbox     a ChartMogul to try things on; knows nothing of the service

Start reading at ``pipeline.py``.
"""

__version__ = "0.1.0"

"""A model of the whole journey, run against the real one: a real log, a real sink, a ChartMogul on the wire.

Anything may happen in any order: CRMs tell, late, twice and of the past; tries stop at any seam and go on much later,
with their lease or without it; calls fail in every way; processes die; PATCHes land long after they were given up;
an operator pauses and replays. Whatever it was:

newest wins   at rest each field of each contact holds its newest value that did not die (``truth``)
nothing lost  what was acknowledged is in the log once, in its order, and comes to its end (``settling``)
books close   after every act
no call for nothing   a try calls once, and where nothing went wrong only for what is not there (``judge``)

``thin`` is a world of its own: events that leave things out, and records that are read back (``portal``). There, each
field holds at rest what the CRM's record has.

``shadow`` lets sources switch between shadow mode and live: nothing goes out of the former, and all of it in the end.

``python -m tests.model --examples 2000 --steps 80 --seed 7`` goes on where the test stops. What it finds is told as
acts, which ``play`` plays again: that is what ``test_found`` is made of.
"""

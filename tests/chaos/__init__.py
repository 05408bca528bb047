"""Chaos: the real service as processes that are killed, a real sandbox that fails, CRMs that repeat and reorder.

    python -m tests.chaos --seconds 60 --seed 7

One seed gives one stream of changes, one list of faults and one row of kills; when each falls due, no seed can say.

portal   one more CRM, whose records are read back, late, and whose API fails
changes  what the others say                 senders  the CRMs: they sign, repeat until told 2xx, and keep account
serve    the service, with seams to end at   lives    its lives, and how each one ends
weather  what goes wrong at ChartMogul       verdict  what must be true at the end
run      all of it together, from a seed to a report
"""

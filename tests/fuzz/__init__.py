"""Requests that no CRM should send, thousands at a time: whatever arrives, only the documented errors come of it.

Three kinds: ``random``, with nothing right in it; ``altered`` after it was signed, as somebody on the way would; and
``resigned``, with a right proof over a body that the CRM would not make, so that what reads it is reached. Each goes to
its source directly (``judge``), and some through the web room into a log of their own (``house``).

``make fuzz`` runs for long; the test runs a little of the same for each preset and each way to prove a sender.
"""

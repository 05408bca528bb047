"""HTTP in: webhooks on the hot path, health and the admin API beside it.

Handlers turn requests into calls and results into answers.
"""

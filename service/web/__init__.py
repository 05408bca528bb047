"""HTTP in: webhooks on the hot path, health beside it. Handlers turn requests into calls and results into answers."""

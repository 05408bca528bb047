"""The CRMs' read APIs, a file each, after their vendors' documentation; ``server.serving`` puts one on a real socket.

Each ``tests/support/apis/<preset>.py`` has ``Api``: what the CRM holds, and how it answers.
"""

"""What the service costs, against bounds measured in the same run; ``python -m tests.benchmarks`` runs all of it.

load       raw HTTP/1.1 load from outside the server's process     bodies   what is sent, as the vendors send it
servers    the service, the sandbox and the bounds as processes    noop     the bounds: endpoints that keep nothing
intake     durable webhooks against endpoints that keep nothing    drain    deliveries against ChartMogul's own client
memory     what stays resident, and how soon it is ready           mapping  what the rules cost
report     a table and JSON

No figure passes or fails here: only lost changes and wrong answers do.
"""

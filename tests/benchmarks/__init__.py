"""What the service costs, against bounds measured in the same run; ``python -m tests.benchmarks`` runs all of it.

intake       durable webhooks against endpoints that keep nothing
drain        deliveries against the rate allowed, and against ChartMogul's own client
burst        many changes of few contacts at once, in few calls
duplicates   what is sent again: logged once, and costs no call
memory       what stays resident, and how soon it is ready
mapping      what the rules cost

Below them:

documents    what the vendors send                      bodies    requests made of it, signed
load         raw HTTP/1.1 from outside the server       contenders  servers that take turns under it
servers      processes, each on its core                ours      two of them: the service and the sandbox
backlog      what waits in a log before it is timed     noop      the bounds: endpoints that keep nothing
report       a table and JSON

No figure passes or fails here: only lost changes and wrong answers do.
"""

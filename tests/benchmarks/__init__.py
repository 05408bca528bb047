"""What the service costs, against bounds measured in the same run; ``python -m tests.benchmarks`` runs all of it.

intake       durable webhooks against endpoints that keep nothing
drain        deliveries against the rate allowed, and against ChartMogul's own client
burst        many changes of few contacts at once, in few calls
duplicates   what is sent again: logged once, and costs no call
latency      from the acknowledgement to the PATCH
unpaced      what a delivery costs, against a bare loop of the client it is made with
clients      HTTP clients compared
memory       what stays resident, and how soon it is ready
deep_log     all of this with a million events in the log, against an empty one
mapping      what the rules cost

Below them:

documents    what the vendors send                          bodies        requests made of it, signed
load         raw HTTP/1.1 from outside the server           contenders    servers that take turns under it
servers      processes, each on its core                    ours          two of them: the service and the sandbox
noop         the bounds: endpoints that keep nothing        unpaced_serve the service with its own pace lifted
backlog      what waits in a log before it is timed         ended         what lies behind it
pace         calls timed where nothing holds them back      callers       clients that make them
report       a table and JSON

No figure passes or fails here: only lost changes and wrong answers do.
"""

"""``python -m tests.benchmarks.unpaced_serve``: the service with its own pace lifted, as no setting allows.

ChartMogul's limits bind any service that keeps them; what a delivery costs is seen only where nothing else binds.
"""

import sys
from dataclasses import replace
from typing import Final

from service.config import load
from service.main import run_server

PER_S: Final = 1_000_000.0
PARALLEL: Final = 20

if __name__ == "__main__":
    config = load()
    lifted = {"chartmogul_rate_per_s": PER_S, "chartmogul_parallel": PARALLEL}
    sys.exit(run_server(replace(config, settings=config.settings.model_copy(update=lifted))))

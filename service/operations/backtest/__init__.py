"""What a candidate configuration would make of the changes in the log, held against what is made of them now.

Each change is mapped by itself, by both; what coalescing makes of several is not asked. Nothing is sent or written.
"""

from service.operations.backtest.run import Backtest
from service.operations.backtest.tally import Difference, Report

__all__ = ["Backtest", "Difference", "Report"]

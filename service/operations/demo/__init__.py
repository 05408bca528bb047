"""The main job on one machine: a sandbox, the service and three CRMs, with everything that goes wrong in real life.

``story`` is what the CRMs send, ``stage`` runs the processes, ``show`` tells what came of it.
"""

from service.operations.demo.play import play
from service.operations.demo.stage import DemoError, Stage

__all__ = ["DemoError", "Stage", "play"]

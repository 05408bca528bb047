"""What the operator says, read and checked: the only room that reads the environment and files.

``variables`` gathers named values, ``settings`` checks those of the environment, ``yaml_file`` reads the configuration
file with every position, ``layers`` makes each rule whole, from what its preset, its source and ``definitions`` give,
``file`` says what may stand there then, ``faults`` tells what does not fit and ``warnings`` what is worth a second
look, ``reading`` and ``environment`` bring both
together, ``loading`` returns values or one ConfigError with every fault, and ``origin`` says whether anything changed
where they came from.
"""

from service.config.loading import Config, load, load_settings
from service.config.schema import json_schema
from service.config.settings import Account, Settings

__all__ = ["Account", "Config", "Settings", "json_schema", "load", "load_settings"]

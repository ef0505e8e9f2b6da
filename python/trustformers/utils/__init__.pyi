from . import logging as logging
from .versions import show_versions as show_versions

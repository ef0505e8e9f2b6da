"""Settings of the devices, by the names of ``torch.backends``."""

from . import cuda as cuda

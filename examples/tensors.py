"""Tensors that share their memory with NumPy, and with PyTorch where that is installed."""

import numpy as np

from trustformers import Tensor

array = np.arange(6, dtype=np.float32).reshape(2, 3)
tensor = Tensor.from_numpy(array)
array[0, 0] = 10  # the tensor sees it
assert tensor[0, 0].item() == 10
assert tensor.to_numpy() is array

try:
    import torch
except ImportError:
    print("PyTorch is not here, and nobody needs it")
else:
    shared = Tensor.from_torch(torch.ones(2, 3))
    print((shared + tensor).to_torch())

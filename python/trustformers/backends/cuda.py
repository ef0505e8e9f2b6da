"""Settings of CUDA's devices, by the names of ``torch.backends.cuda``."""

from __future__ import annotations

from .. import _engine


class _Matmul:
    """How products of matrices are computed."""

    @property
    def allow_tf32(self) -> bool:
        """Whether products of float32 may be computed in TF32, faster and with 10 bits behind the point."""
        return _engine.is_tf32_allowed()

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        _engine.allow_tf32(allowed)


matmul = _Matmul()

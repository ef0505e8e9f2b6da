"""The dtypes under torch's names, which in part are those of Python's own types."""

from __future__ import annotations

from trustformers._engine import bool_, float16, float32, float64, int16, int32, int64
from trustformers._engine import dtype as dtype

bool = bool_
half = float16
float = float32
double = float64
short = int16
int = int32
long = int64

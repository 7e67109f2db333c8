"""Names of the array types that rooms exchange."""

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.floating]  # of either precision
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

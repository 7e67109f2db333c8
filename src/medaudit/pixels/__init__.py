"""Images as arrays: decoding, packed shards, statistics, fingerprints and corruptions."""

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

"""Entry points of the pipeline, one per stage: `python -m stages.<name>`.

The library beside these files is put first on the path, so that an experiment that runs in a
copy of the repository (`dvc exp run --temp`, `--queue`) runs its own code even where another
copy is installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

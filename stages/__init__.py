"""Entry points of the pipeline, one per stage: `python -m stages.<name>`.

The library beside these files is put first on the path, so that an experiment that runs in a
copy of the repository (`dvc exp run --temp`, `--queue`) runs its own code even where another
copy is installed.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType


def _leave(_signum: int, _frame: FrameType | None) -> None:
    # Imports may swallow an exception, and leave half of a module behind: end here and now.
    os.write(2, b"interrupted before the stage began; run it again\n")
    os._exit(130)


# While `python -m` looks for the module; a program that only imports stages keeps its own handler,
# and an ignored signal (`nohup`, `&` in a script) stays ignored.
# `medaudit.core.runner.run` takes over.
if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

"""The commands of tools.supply_chain."""

import sys

from tools import supply_chain
from tools.supply_chain import licences, locks, sbom

COMMANDS = {"torch": locks.write_torch, "licences": licences.write, "sbom": sbom.write}

if __name__ == "__main__":
    command = COMMANDS.get(" ".join(sys.argv[1:]))
    if command is None:
        sys.exit(str(supply_chain.__doc__))
    command()

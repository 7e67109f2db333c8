"""Write every DVC plot as SVG, with no browser and no network.

python tools/plots_static.py FOLDER
"""

import json
import subprocess
import sys
from pathlib import Path

import vl_convert

VEGA_LITE = "5.20"


def main() -> None:
    """One SVG per chart, named after its file."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    shown = subprocess.run(
        ["dvc", "plots", "show", "--json"], check=True, capture_output=True, text=True
    )
    for name, charts in json.loads(shown.stdout)["data"].items():
        for chart in charts:
            svg = vl_convert.vegalite_to_svg(chart["content"], vl_version=VEGA_LITE)
            stem = "-".join(Path(name).with_suffix("").parts[-2:])
            (folder / f"{stem}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()

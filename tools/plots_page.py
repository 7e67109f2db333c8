"""Write the page that `dvc plots` renders into, with Vega inlined, so that it opens offline.

python tools/plots_page.py       once after installing; `make plots` calls it
"""

import subprocess
from pathlib import Path

import vl_convert

VEGA_LITE = "5.20"
TARGET = Path(".dvc/tmp/plots_page.html")
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
{refresh_tag}
<meta charset="utf-8">
<title>medaudit plots</title>
<script type="text/javascript">%s</script>
<style>
body { font: 14px sans-serif; margin: 2rem }
div[id] { margin-bottom: 2rem }
table { border-spacing: 15px }
</style>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def main() -> None:
    """Write the page and name it in `.dvc/config.local`.

    In `.dvc/config` the name would break `dvc plots` in every clone without the page.
    """
    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE).replace("</script", "<\\/script")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(PAGE.replace("%s", bundle), encoding="utf-8")
    setting = ["plots.html_template", "tmp/plots_page.html"]
    subprocess.run(["dvc", "config", "--local", *setting], check=True)


if __name__ == "__main__":
    main()

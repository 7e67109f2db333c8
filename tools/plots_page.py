"""Write the pages that `dvc plots` renders into. Nothing of a table is markup there.

python tools/plots_page.py           once after installing; `make plots` calls it
python tools/plots_page.py --safe    writes .dvc/plots_page.html, which is in git, anew

DVC puts the values of tables into a script as they are, so that `</script>` in a slice's name ends
it. In both pages they stand behind `<plaintext>`, which no text ends: a browser takes all of it for
letters. Of these the first page's own scripts read the charts as JSON. Vega is inside, so that it
opens offline; its expressions are interpreted, not evaluated, and a policy of content lets these
scripts run by their digests and nothing else load or run. The second page, for clones in which
nobody wrote the first, has no scripts and no charts.
"""

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import vl_convert

VEGA_LITE = "5.20"
WITH_CHARTS = Path(".dvc/tmp/plots_page.html")
SAFE = Path(".dvc/plots_page.html")
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>medaudit plots</title>
{scripts}<style>
body { font: 14px sans-serif; margin: 2rem }
.chart { margin-bottom: 2rem }
</style>
</head>
<body>
<main id="charts">{words}</main>
<plaintext id="tables" hidden>
{plot_divs}
"""
# How DVC writes the line that holds a chart; JSON has no line ends.
SPECS = r"/^ *var spec = (\{.*\});$/gm"
DRAW = """
addEventListener("DOMContentLoaded", () => {
  const tables = document.getElementById("tables").textContent;
  for (const [, json] of tables.matchAll(SPECS)) {
    const chart = document.createElement("div");
    chart.className = "chart";
    document.getElementById("charts").append(chart);
    const actions = { export: true, source: false, compiled: false, editor: false };
    vegaEmbed(chart, JSON.parse(json), { ast: true, actions }).catch((error) => {
      chart.textContent = String(error);
    });
  }
});
""".replace("SPECS", SPECS)
ASK = (
    "<p>Charts need Vega, which is not in this page: run <code>make plots</code> once. From then "
    "on <code>dvc plots show</code> and <code>dvc plots diff</code> draw them, without network.</p>"
)


def main() -> None:
    """Write a page; name the one with charts in `.dvc/config.local`.

    `.dvc/config` names the other one: where a page is missing, `dvc plots` stops.
    """
    if sys.argv[1:] == ["--safe"]:
        write(SAFE, page([], ASK))
        return
    write(WITH_CHARTS, page([vl_convert.javascript_bundle(vl_version=VEGA_LITE), DRAW], ""))
    setting = ["plots.html_template", "tmp/plots_page.html"]
    subprocess.run(["dvc", "config", "--local", *setting], check=True)


def page(scripts: list[str], words: str) -> str:
    """The template: DVC replaces `{plot_divs}`."""
    scripts = [each.replace("</script", "<\\/script").replace("<!--", "<\\!--") for each in scripts]
    digests = "".join(f" '{digest(each)}'" for each in scripts)
    parts = {
        "policy": POLICY + (f"; script-src{digests}" if scripts else ""),
        "words": words,
        "scripts": "".join(f"<script>{each}</script>\n" for each in scripts),
    }
    text = PAGE
    for name, part in parts.items():
        text = text.replace("{" + name + "}", part)
    return text


def digest(script: str) -> str:
    """A script as a policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def write(path: Path, text: str) -> None:
    """A text with Unix line ends, over which digests are taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

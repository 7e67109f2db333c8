"""What every page that we write may hold, read as a browser reads it."""

import base64
import hashlib
import re
from html.parser import HTMLParser

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)


class Page(HTMLParser):
    """Tags, attributes, scripts and text of a page.

    After `<plaintext>` the standard knows no tag any more (13.2.5.5), but Python's parser does: so
    all that follows is text here.
    """

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        markup, self.has_plaintext, self.plaintext = self._parts(text)
        self.tags, self.attributes, self.scripts, self.text = [], [], [], ""
        self.feed(markup)
        self.close()

    @staticmethod
    def _parts(text):
        begin = re.search("<plaintext[^>]*>", text)
        if begin is None:
            return text, False, ""
        return text[: begin.end()], True, text[begin.end() :]

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script" and self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data


def check(text, *, scripts=0):
    """Fail unless the policy comes before all else, and allows the page's own scripts alone."""
    page = Page(text)
    assert page.tags[:4] == ["html", "head", "meta", "meta"]
    assert ("meta", "http-equiv", "Content-Security-Policy") in page.attributes[:4]
    policy = next(value for _, name, value in page.attributes if name == "content")
    digests = [
        "'sha256-" + base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() + "'"
        for each in page.scripts
    ]
    assert policy == "; ".join([POLICY, *([" ".join(["script-src", *digests])] if digests else [])])
    assert len(page.scripts) == page.tags.count("script") == scripts
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "action", "data", "srcset"):
            assert value.startswith(("data:", "#")), (tag, name, value[:80])
    return page

"""What may leave a run: `report.privacy`, pseudonyms of ids, and tables as they are released."""

from __future__ import annotations

import base64
import bisect
import hashlib
import hmac
import os
import re
import secrets
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict

from medaudit.core.errors import DataError, quoted
from medaudit.core.files import atomic, read_bytes
from medaudit.core.layout import ARTIFACTS, PSEUDONYM_KEY
from medaudit.core.params import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

Mode = Literal["open", "pseudonymous", "aggregate"]
OPEN, PSEUDONYMOUS, AGGREGATE = "open", "pseudonymous", "aggregate"
KEY_VARIABLE = "MEDAUDIT_PSEUDONYM_KEY"
KEY_BYTES = 32
FEWEST_KEY_CHARACTERS = 16
LENGTH = 10  # base32 characters of a pseudonym: 50 bits

# What a column, or a key of a record, of this name holds: an id, or several with spaces between.
SAMPLE, GROUP = "S", "G"
ID_COLUMNS = {
    **dict.fromkeys(("sample_id", "first", "second", "test_id", "other_id"), SAMPLE),
    **dict.fromkeys(("group_id", "test_group", "other_group"), GROUP),
}
ID_LISTS = {"sample_ids": SAMPLE, "example_ids": SAMPLE, "pair": SAMPLE, "group_ids": GROUP}
# A row of a table with one of these is about one image or one pair.
OF_ONE_IMAGE = (*ID_COLUMNS, "pair")

FEWEST_GROUPS = 5  # that share a value, for it to be told of a case
RARE = "rare value"
OLDEST = 90  # years from which ages are one
QUARTERS = (0.25, 0.5, 0.75)


class PrivacyParams(Section):
    """What of the section `report` every stage reads before it writes what may be passed on.

    Args:
        privacy: `open` names samples and groups; `pseudonymous` names them by keyed pseudonyms,
            bins facts of persons and suppresses small cells; `aggregate` says nothing of a single
            image.
    """

    model_config = ConfigDict(extra="ignore")
    section: ClassVar[str] = "report"

    privacy: Mode = "pseudonymous"


@dataclass
class Privacy:
    """The setting of one run, and its pseudonyms.

    Args:
        mode: `report.privacy`.
        key_file: where the key of the pseudonyms lies, or is made at first use.
        given: every id that was given a pseudonym, by it.
    """

    mode: Mode = "pseudonymous"
    key_file: Path = PSEUDONYM_KEY
    given: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_audit(cls, folder: Path, params: PrivacyParams) -> Privacy:
        """Of a folder that holds an audit and nothing else: the key lies among its artefacts."""
        return cls(params.privacy, folder / ARTIFACTS / PSEUDONYM_KEY)

    @property
    def closed(self) -> bool:
        """Whether anything is kept back."""
        return self.mode != OPEN

    @property
    def pseudonyms(self) -> bool:
        """Whether ids are shown as pseudonyms."""
        return self.mode == PSEUDONYMOUS

    @property
    def aggregate(self) -> bool:
        """Whether single images are not spoken of at all."""
        return self.mode == AGGREGATE

    @cached_property
    def _key(self) -> bytes:
        return read_key(self.key_file)

    def name(self, identifier: str, kind: str = SAMPLE) -> str:
        """The name under which a sample or group is shown: its pseudonym, or itself when open.

        Raises:
            DataError: two ids have one pseudonym.
        """
        if not self.closed:
            return identifier
        found = pseudonym(identifier, kind, key=self._key)
        if self.given.setdefault(found, identifier) != identifier:
            raise DataError(
                f"{quoted(identifier)} and {quoted(self.given[found])} have the pseudonym {found}; "
                f"set another {KEY_VARIABLE}, or remove {self.key_file}, and run all stages again"
            )
        return found

    def table(self) -> pd.DataFrame:
        """`pseudonym` and `id` of all that were given one, in the order of the pseudonyms."""
        import pandas as pd  # late, since this module is imported by everything

        return pd.DataFrame(sorted(self.given.items()), columns=["pseudonym", "id"])


def pseudonym(identifier: str, kind: str, *, key: bytes) -> str:
    """A name that only who has the key can compute from an id: HMAC-SHA256, 50 bits, base32.

    Samples and groups of one id have different pseudonyms.

    >>> pseudonym("a", SAMPLE, key=b"k")
    'S-QJZ6AVJLQA'
    """
    words = f"{kind}\0{identifier}".encode()
    found = hmac.new(key, words, hashlib.sha256).digest()
    return f"{kind}-{base64.b32encode(found).decode('ascii')[:LENGTH]}"


def read_key(path: Path) -> bytes:
    """The key of the environment, else that of the file, which is made where there is none."""
    given = os.environ.get(KEY_VARIABLE)
    if given is not None:
        return _long_enough(given, KEY_VARIABLE)
    if not path.exists():
        with atomic(path, mode=0o600) as part:
            part.write_text(f"{secrets.token_hex(KEY_BYTES)}\n", encoding="ascii")
    return _long_enough(read_bytes(path, most=1 << 12).decode("utf-8", "replace"), str(path))


def _long_enough(text: str, source: str) -> bytes:
    if len(text.strip()) < FEWEST_KEY_CHARACTERS:
        raise DataError(
            f"{source}: expected a key of {FEWEST_KEY_CHARACTERS} characters or more, got "
            f"{len(text.strip())}; remove it and one is drawn"
        )
    return text.strip().encode()


def joined(ids: Iterable[str]) -> str:
    """Several ids in one cell, with spaces between; one that holds a space is quoted.

    >>> joined(["a", "b c"]), parted("a 'b c'")
    ("a 'b c'", ['a', 'b c'])
    """
    return shlex.join(ids)


def parted(cell: str) -> list[str]:
    """The ids in a cell."""
    return shlex.split(cell)


def released(tables: Mapping[str, pd.DataFrame], *, privacy: Privacy) -> dict[str, pd.DataFrame]:
    """The series of a stage as they may be passed on, in `plots/` and in reports.

    Args:
        tables: by file stem, as they were found.
        privacy: the setting.
    """
    if not privacy.closed:
        return dict(tables)
    return {name: _without_ids(frame, privacy) for name, frame in tables.items()}


def _without_ids(frame: pd.DataFrame, privacy: Privacy) -> pd.DataFrame:
    if privacy.aggregate and set(OF_ONE_IMAGE) & set(frame):
        return frame.head(0)
    names = [name for name in frame if name in ID_COLUMNS or name in ID_LISTS]
    shown = frame.assign(
        **{name: [hidden(name, value, privacy) for value in frame[name]] for name in names}
    )
    # The order of the ids would tell which pseudonym is which.
    by_id = len(shown) and names and names[0] == frame.columns[0]
    return shown.sort_values(names[0], ignore_index=True) if by_id else shown


def hidden(name: str, value: Any, privacy: Privacy) -> Any:
    """What a column or key of this name holds, with pseudonyms in place of ids, or nothing."""
    if privacy.aggregate:
        return [] if isinstance(value, list) else ""
    kind = ID_COLUMNS.get(name) or ID_LISTS[name]
    if isinstance(value, list):
        return [privacy.name(str(each), kind) for each in value]
    if value is None or value != value:
        return value
    ids = [str(value)] if name in ID_COLUMNS else parted(str(value))
    return " ".join(privacy.name(each, kind) for each in ids)


def released_cases(
    dossier: Mapping[str, Any], rows: pd.DataFrame, *, privacy: Privacy
) -> dict[str, Any]:
    """What `cases.json` says, as far as it may be passed on.

    Args:
        dossier: the content of `cases.json`.
        rows: the manifest, all roles: `group_id` and the columns that cases have facts about.
        privacy: the setting.
    """
    if not privacy.closed:
        return dict(dossier)
    if privacy.aggregate:
        return {**dossier, "taxonomy": [], "cases": [], "galleries": []}
    cases = [
        {**case, "facts": coarse_facts(case.get("facts", {}), rows)} for case in dossier["cases"]
    ]
    found: dict[str, Any] = _renamed({**dossier, "cases": cases}, privacy)
    return found


def _renamed(content: Any, privacy: Privacy) -> Any:
    """JSON with pseudonyms under every key that holds ids."""
    if isinstance(content, list):
        return [_renamed(each, privacy) for each in content]
    if not isinstance(content, dict):
        return content
    return {
        name: hidden(name, value, privacy)
        if name in ID_COLUMNS or name in ID_LISTS
        else _renamed(value, privacy)
        for name, value in content.items()
    }


def coarse_facts(facts: Mapping[str, Any], rows: pd.DataFrame) -> dict[str, Any]:
    """Facts about one image that many share: decades, quarters, years, and no rare value.

    A column that the manifest does not have is left out.
    """
    return {name: coarse(value, name, rows) for name, value in facts.items() if name in rows}


def coarse(value: Any, name: str, rows: pd.DataFrame) -> Any:
    """One fact: `50 to 59`, `0.12 to 0.31`, `2019`, a value that is shared, or `rare value`."""
    if value is None:
        return None
    told = _teller(name, rows)
    same = rows[name].map(told, na_action="ignore") == told(value)
    return told(value) if rows.loc[same, "group_id"].nunique() >= FEWEST_GROUPS else RARE


def _teller(name: str, rows: pd.DataFrame) -> Callable[[Any], str]:
    """How values of a column are told."""
    import pandas as pd  # late, since this module is imported by everything

    numeric = pd.api.types.is_numeric_dtype(rows[name])
    if not numeric or pd.api.types.is_bool_dtype(rows[name]):
        return _as_year
    if "age" in re.split(r"[\W_]+", name.lower()):
        return _as_decade
    edges = sorted({float(edge) for edge in rows[name].dropna().quantile(list(QUARTERS))})
    return lambda value: _as_bin(float(value), edges)


def _as_year(value: Any) -> str:
    """A text as it is, a date as its year.

    >>> _as_year("2019-03-04"), _as_year("4.3.2019 10:15"), _as_year("20190304"), _as_year("back")
    ('2019', '2019', '2019', 'back')
    """
    found = _DATE.match(str(value))
    return next(filter(None, found.groups())) if found else str(value)


_DATE = re.compile(
    r"\s*(?:((?:19|20)\d\d)[-/.]?\d\d?[-/.]?\d\d?|\d\d?[-/.]\d\d?[-/.]((?:19|20)\d\d))(?!\d)"
)


def _as_decade(value: Any) -> str:
    """The decade of an age.

    >>> _as_decade(57.0), _as_decade(90), _as_decade(104)
    ('50 to 59', '90 or more', '90 or more')
    """
    decade = int(float(value) // 10) * 10
    return f"{OLDEST} or more" if decade >= OLDEST else f"{decade} to {decade + 9}"


def _as_bin(value: float, edges: Sequence[float]) -> str:
    """The bin of a number between edges.

    >>> _as_bin(0.2, [0.1, 0.5]), _as_bin(0.1, [0.1, 0.5]), _as_bin(9, [0.1, 0.5])
    ('0.1 to 0.5', 'up to 0.1', 'above 0.5')
    """
    place = bisect.bisect_left(edges, value)
    if place in (0, len(edges)):
        return f"up to {edges[0]:.3g}" if place == 0 else f"above {edges[-1]:.3g}"
    return f"{edges[place - 1]:.3g} to {edges[place]:.3g}"

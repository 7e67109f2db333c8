"""What may leave a run: `report.privacy`, pseudonyms of ids, and tables as they are released."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict

from medaudit.core.errors import DataError, quoted
from medaudit.core.files import atomic, read_bytes
from medaudit.core.layout import ARTIFACTS, PSEUDONYM_KEY
from medaudit.core.params import Section

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

Mode = Literal["open", "pseudonymous", "aggregate"]
OPEN, PSEUDONYMOUS, AGGREGATE = "open", "pseudonymous", "aggregate"
KEY_VARIABLE = "MEDAUDIT_PSEUDONYM_KEY"
KEY_BYTES = 32
FEWEST_KEY_CHARACTERS = 16
LENGTH = 10  # base32 characters of a pseudonym: 50 bits

# What a column of this name holds, in every table that is released.
SAMPLE, GROUP = "S", "G"
ID_COLUMNS = {"sample_id": SAMPLE, "first": SAMPLE, "second": SAMPLE, "group_id": GROUP}
ID_LISTS = {"sample_ids": SAMPLE, "example_ids": SAMPLE, "pair": SAMPLE, "group_ids": GROUP}
# A row of a table with one of these is about one image or one pair.
OF_ONE_IMAGE = (*ID_COLUMNS, "pair")


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


def released(
    tables: Mapping[str, pd.DataFrame],
    stage: str,
    *,
    privacy: Privacy,
) -> dict[str, pd.DataFrame]:
    """The series of a stage as they may be passed on: with `plots/`, reports, and audits.

    Args:
        tables: by file stem, as they were found.
        stage: that found them.
        privacy: the setting.
    """
    if not privacy.closed:
        return dict(tables)
    return {name: _released(frame, privacy) for name, frame in tables.items()}  # and small_cells


def _released(frame: pd.DataFrame, privacy: Privacy) -> pd.DataFrame:
    if privacy.aggregate and set(OF_ONE_IMAGE) & set(frame):
        return frame.head(0)
    shown = frame.copy()
    for column in [each for each in frame if each in ID_COLUMNS]:
        kind = ID_COLUMNS[column]
        shown[column] = [_named(value, kind, privacy) for value in frame[column]]
    for column in [each for each in frame if each in ID_LISTS]:
        kind = ID_LISTS[column]
        shown[column] = [_all_named(value, kind, privacy) for value in frame[column]]
    return shown


def _named(value: Any, kind: str, privacy: Privacy) -> Any:
    return privacy.name(value, kind) if isinstance(value, str) else value


def _all_named(value: Any, kind: str, privacy: Privacy) -> Any:
    if not isinstance(value, str):
        return value
    return "" if privacy.aggregate else " ".join(privacy.name(x, kind) for x in value.split())

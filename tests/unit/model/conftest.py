"""Tiny prepared folders for every test of models."""

from tests.prepared_folders import (  # noqa: F401 - fixtures
    more_prepared,
    multilabel,
    multilabel_folder,
    one_thread,
    prepared,
    prepared_folder,
)

import pytest
from battery import TALLY, table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY:
        terminalreporter.section("inputs that were tried")
        terminalreporter.write_line("\n".join(table()))

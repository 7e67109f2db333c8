"""Kinds of task; the only place that knows what logits and targets mean."""

from medaudit.errors import lookup
from medaudit.tables.tasks.base import Events, Measure, Task
from medaudit.tables.tasks.multiclass import Multiclass

TASKS: dict[str, Task] = {"multiclass": Multiclass()}


def get(name: str) -> Task:
    """The task of that name."""
    return lookup("task", name, TASKS)


__all__ = ["TASKS", "Events", "Measure", "Task", "get"]

"""Kinds of task; the only place that knows what logits and targets mean."""

from medaudit.core.errors import lookup
from medaudit.tables.tasks.base import Events, Predictions, Task
from medaudit.tables.tasks.multiclass import Multiclass
from medaudit.tables.tasks.multilabel import Multilabel

TASKS: dict[str, Task] = {"multiclass": Multiclass(), "multilabel": Multilabel()}


def get(name: str) -> Task:
    """The task of that name."""
    return lookup("task", name, TASKS)


__all__ = ["TASKS", "Events", "Predictions", "Task", "get"]

"""What training minimises and by what the best epoch is chosen, per kind of task."""

from medaudit.errors import lookup
from medaudit.model.training.objectives.base import Objective
from medaudit.model.training.objectives.multiclass import MulticlassObjective
from medaudit.model.training.objectives.multilabel import MultilabelObjective

OBJECTIVES: dict[str, Objective] = {
    "multiclass": MulticlassObjective(),
    "multilabel": MultilabelObjective(),
}


def get(task: str) -> Objective:
    """The objective of a task."""
    return lookup("task", task, OBJECTIVES)


__all__ = ["OBJECTIVES", "Objective", "get"]

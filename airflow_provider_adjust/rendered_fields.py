"""Template fields that hold personal data: Airflow's rendered fields show a sentence in place of their content.

Airflow stores the rendered template fields of each task instance, and shows them to everyone who may see the DAG.
"""

from __future__ import annotations

from typing import Any


class HiddenValue:
    """A value that converts to a sentence, in Airflow's rendered fields and everywhere else."""

    def __init__(self, value: Any, sentence: str) -> None:
        self.value = value
        self._sentence = sentence

    def __str__(self) -> str:
        return self._sentence

    __repr__ = __str__


def hide(value: Any, sentence: str) -> HiddenValue:
    """Hide the value behind the sentence. A value that is already hidden keeps its sentence."""
    return value if isinstance(value, HiddenValue) else HiddenValue(value, sentence)


def reveal(value: Any) -> Any:
    """The value itself, hidden or not."""
    return value.value if isinstance(value, HiddenValue) else value


class HidesRenderedFields:
    """A mixin for operators with such fields. List it before the other base classes.

    It overrides a private method of Airflow, since ``MappedOperator`` calls that method to render a mapped task, rather than
    ``render_template_fields``.
    """

    def hide_rendered_fields(self) -> None:
        """Hide the fields with personal data. Called after each rendering."""
        raise NotImplementedError

    def _do_render_template_fields(self, parent: Any, *arguments: Any, **keywords: Any) -> None:
        super()._do_render_template_fields(parent, *arguments, **keywords)  # type: ignore[misc]
        # Airflow also renders other objects with this method, such as values nested in a field.
        if parent is self:
            self.hide_rendered_fields()

"""Template fields that hold personal data: Airflow's rendered fields show a sentence in place of their content.

Airflow stores what the template fields of each task instance rendered to, and shows it to everybody who may see the DAG.
"""

from __future__ import annotations

from typing import Any


class HiddenValue:
    """A value that is shown as a sentence, in Airflow's rendered fields and wherever else it is turned into text."""

    def __init__(self, value: Any, sentence: str) -> None:
        self.value = value
        self._sentence = sentence

    def __str__(self) -> str:
        return self._sentence

    __repr__ = __str__


def hide(value: Any, sentence: str) -> HiddenValue:
    """The value, hidden behind the sentence; a value that is hidden already keeps its own sentence."""
    return value if isinstance(value, HiddenValue) else HiddenValue(value, sentence)


def reveal(value: Any) -> Any:
    """The value itself, whether or not it is hidden."""
    return value.value if isinstance(value, HiddenValue) else value


class HidesRenderedFields:
    """A mixin for operators with such fields; it comes before their other base classes.

    It overrides a private method of Airflow because ``MappedOperator``, which renders a mapped task, calls this method of
    the task and not its ``render_template_fields``.
    """

    def hide_rendered_fields(self) -> None:
        """Replace the fields that hold personal data by hidden values. Called after each rendering."""
        raise NotImplementedError

    def _do_render_template_fields(self, parent: Any, *arguments: Any, **keywords: Any) -> None:
        super()._do_render_template_fields(parent, *arguments, **keywords)  # type: ignore[misc]
        # Airflow also renders other objects by this method, such as values that are nested in a field.
        if parent is self:
            self.hide_rendered_fields()

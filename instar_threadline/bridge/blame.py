"""What a plugin's sink, redactor or Telegram port did wrong, told under the plugin's name.

Promises that the kind of a failure is told and where in the plugin it was, never its words: those
may hold what the plugin was looking at. What was raised or returned is passed on as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from instar_host.places import place

Answer = TypeVar("Answer")
Given = ParamSpec("Given")

Tell = Callable[[str], None]
"""Takes one sentence for the plugin's status."""


def told(
    what: str, kinds: tuple[type, ...], tell: Tell, call: Callable[Given, Answer]
) -> Callable[Given, Answer]:
    """`call`, with `tell` hearing of what it raises, and of answers that are of none of `kinds`."""

    @wraps(call)
    def heard(*given: Given.args, **named: Given.kwargs) -> Answer:
        try:
            answer = call(*given, **named)
        except Exception as error:
            tell(f"{what} raised {type(error).__name__}{place(error)}")
            raise
        if not isinstance(answer, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            tell(f"{what} returned an object of type {type(answer).__name__}, not {wanted}")
            if inspect.iscoroutine(answer):
                answer.close()  # or Python warns, later and elsewhere, that it was never awaited
        return answer

    return heard

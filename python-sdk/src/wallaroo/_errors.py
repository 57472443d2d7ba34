"""The errors an application may see from this package."""

from __future__ import annotations


class WallarooParameterError(Exception):
    """An application was described wrongly: the step, what was wrong, and what to do about it.

    Raised while the application is built, before any process that would run it has started.

    Args:
        message: One line: which step or argument, and what is wrong with it.
        hint: What to do about it, or ``None``.

    Example:
        >>> error = WallarooParameterError("pipeline 'Orders' has no sink", hint="end it with to_sink(...) or done()")
        >>> print(error)
        pipeline 'Orders' has no sink
        hint: end it with to_sink(...) or done()
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"

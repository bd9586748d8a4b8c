"""The exceptions that this package raises.

The text of an error says what was done, what was found and what was expected. `code` is the kind of error in a few
words, such as "wrong input shape".
"""

from __future__ import annotations


class Error(RuntimeError):
    """Base of all errors of this package. `code`: the kind of error, in a few words."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code

    def __reduce__(self) -> tuple[type[Error], tuple[str, str]]:
        return type(self), (str(self), self.code)


class PackageError(Error):
    """The file does not exist, is not a package, is damaged, or holds no such model."""


class LoadError(Error):
    """The model does not fit this machine, its devices, or this version of torch."""


class InputError(Error, ValueError):
    """The arguments of a call do not fit the model. Nothing has run."""


class WeightsError(Error, ValueError):
    """A new weight does not fit the model, or some are missing. The model is unchanged."""


class RunError(Error):
    """The model failed, memory ran out, or the model cannot run now."""

"""What the functions of this package raise.

Each error has the sentence that says what was done, what was found and what was expected as its text, and a short name
of the kind of error as `code`, such as "wrong input shape".
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
    """The file is not there, is no package, is damaged, or holds no such model."""


class LoadError(Error):
    """The model does not fit this machine, its devices, or this version of torch."""


class InputError(Error, ValueError):
    """The arguments of a call do not fit the model. Nothing has run."""


class WeightsError(Error, ValueError):
    """A new weight does not fit the model, or some are missing. The model runs on as it did."""


class RunError(Error):
    """The model failed, there was no memory, or it cannot run now."""

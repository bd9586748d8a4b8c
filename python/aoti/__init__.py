"""Writes .pt2 packages whose models carry a specification of their inputs and outputs."""

from .export import SPEC_KEY, Model, package, spec

__all__ = ["SPEC_KEY", "Model", "package", "spec"]

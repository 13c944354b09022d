"""The version of this edgeresnet. It imports nothing: every room may read it."""

__version__ = "0.1.0"

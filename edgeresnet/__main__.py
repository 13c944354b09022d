"""`python -m edgeresnet`."""

from .cli import main

main()

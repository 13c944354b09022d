"""edgeresnet: may this ResNet ship to this device? Answers with evidence. Importing it imports nothing heavy."""

__version__ = "0.1.0"

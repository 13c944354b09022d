"""The portable floor: what also runs on the device, carried there verbatim.

Standard library and numpy only, Python 3.10 syntax (JetPack 6). Nothing here knows recipes, stores or torch.
"""

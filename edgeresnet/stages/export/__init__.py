"""The one room of bundles: `write` fills one, `contents` reads it, `on_device` measures it.

`fits` checks that a device's result fits its bundle; `carried` holds the files that go along.
"""

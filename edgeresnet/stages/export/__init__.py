"""The one room of bundles: `write` fills one, `contents` reads it, `on_device` measures it, `carried` goes along."""

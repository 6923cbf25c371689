"""JSON Schemas of the documents that commands print, and of scalefit.toml."""

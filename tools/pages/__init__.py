"""The pages of the site that are made from code: one module per page, each with `page() -> str`."""

"""Settling accounts: holding our orders against what the vendors list and what was delivered, and monthly statements.
`rules` is pure; `lists` takes vendors' lists in; `reconciling` runs day by day; `cases` is what people decide;
`statements` drafts, issues and corrects; `sheets` writes the files."""

"""ANSI X12 over a mailbox: catalogues, inventories and orders of wholesalers."""

"""UN/EDIFACT over a mailbox: catalogues, inventories and orders of wholesalers."""

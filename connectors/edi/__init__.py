"""What X12 and EDIFACT share: letters that lie in a mailbox as files, orders that are placed by leaving one, and what
partners answer. The two dialects (connectors.x12_edi, connectors.edifact) only read and write their syntax."""

"""Documents with known truth, rendered and read: contracts, statements, receipts, tables."""

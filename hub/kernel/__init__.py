"""The kernel: mechanisms every package stands on. It knows nothing of vendors, products or orders."""

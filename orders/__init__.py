"""Orders: from a mall's request to purchase orders that vendors accepted, exactly once each."""

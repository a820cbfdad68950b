"""Google Merchant product feeds: what nearly every merchant can publish, the natural reference for price parity."""

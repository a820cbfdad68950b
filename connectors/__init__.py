"""Connectors: everything that speaks a vendor's protocol, and nothing that knows what a product or an order of
ours is. Talk to it through `connectors.api` and `connectors.contracts`."""

"""Fulfilment: shipments, tracking, the 72-hour figure, stock-outs."""

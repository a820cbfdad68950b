"""What YAML cannot say of JD VOP: a signed token that is renewed, pools walked before their SKUs are read, orders in
two steps, and messages that are fetched and deleted. README.md says where each fact comes from."""

from __future__ import annotations

from connectors.jd_vop.messages import FetchesMessages
from connectors.jd_vop.orders import TakesOrders
from connectors.jd_vop.reconciling import Reconciles


class Adapter(FetchesMessages, Reconciles, TakesOrders):
    """One account of one contract."""

    observes_prices = True

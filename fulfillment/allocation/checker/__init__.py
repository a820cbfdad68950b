"""The checker: proves a plan from its snapshot and certificate, without a solver. It builds its own picture of who
can reach whom and believes nothing in the certificate that it has not checked."""

from fulfillment.allocation.checker.checking import check
from fulfillment.allocation.checker.findings import Finding, PlanTable

__all__ = ["Finding", "PlanTable", "check"]

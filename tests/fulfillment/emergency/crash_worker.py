"""A process for the crash test: solves, commits or sends what is due, and dies at the failpoint that its environment
names. Usage: crash_worker DATABASE_URL solve|commit|send PLAN_ID KEY_ID"""

from __future__ import annotations

import asyncio
import sys

from fulfillment.emergency import api, plans
from hub.kernel import db
from hub.kernel.keys import Principal
from hub.kernel.settings import settings


async def main(url: str, step: str, plan_id: int, key_id: int) -> None:
    db.connect(url, settings())
    if step == "solve":
        await api.solve_due()
    elif step == "commit":
        await plans.commit(Principal("staff", 0, key_id), plan_id)
    else:
        await api.dispatch_due()
    await db.disconnect()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

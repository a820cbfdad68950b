from hub.kernel import db


async def test_one_transaction_sees_one_instant(database: db.Database) -> None:
    async with db.uow() as tx:
        assert tx.now.tzinfo is not None
        assert await tx.fetchval("SELECT 1") == 1

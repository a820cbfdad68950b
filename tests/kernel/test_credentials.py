"""Keys, secrets at rest, masking, the audit chain, and what logs may show."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from hub.kernel import audit, db, keys, log, secrets, store
from hub.kernel.errors import Misconfigured, Unauthorized
from hub.kernel.settings import reset_settings


async def test_a_key_says_who_calls_and_only_its_digest_is_kept(database: db.Database) -> None:
    async with db.uow() as tx:
        mall = await store.add_mall(tx, "甲公司")
        key = await keys.create_key(tx, "mall", mall, "front end")
    who = await keys.authenticate(f"Bearer {key}")
    assert (who.scope, who.tenant_id, who.tenant) == ("mall", mall, f"mall:{mall}")
    assert (
        await db.read_value("SELECT count(*) FROM api_keys WHERE position($1 in encode(digest, 'escape')) > 0", key)
        == 0
    )


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer shk_mall_wrong", "Bearer " + "x" * 500]
)
async def test_a_wrong_key_is_nobody(database: db.Database, header: str | None) -> None:
    with pytest.raises(Unauthorized):
        await keys.authenticate(header)


async def test_a_revoked_key_is_nobody_once_the_cache_has_passed(database: db.Database) -> None:
    async with db.uow() as tx:
        key = await keys.create_key(tx, "staff", None, "x")
        await tx.run("UPDATE api_keys SET revoked_at = now()")
    keys._cache.clear()
    with pytest.raises(Unauthorized):
        await keys.authenticate(f"Bearer {key}")


def test_a_sealed_secret_opens_only_in_its_context_and_unaltered() -> None:
    sealed = secrets.encrypt(b"consumer secret", "connection:1")
    assert b"consumer" not in sealed
    assert secrets.decrypt(sealed, "connection:1") == b"consumer secret"
    with pytest.raises(Misconfigured):
        secrets.decrypt(sealed, "connection:2")
    with pytest.raises(Misconfigured):
        secrets.decrypt(sealed[:-1] + bytes([sealed[-1] ^ 1]), "connection:1")


def test_old_secrets_stay_readable_after_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = ("k1:" + "A" * 43 + "=", "k2:" + "B" * 43 + "=")
    monkeypatch.setenv("SUPPLYHUB_SECRET_KEYS", old)
    reset_settings()
    sealed = secrets.encrypt(b"x", "c")
    monkeypatch.setenv("SUPPLYHUB_SECRET_KEYS", f"{new},{old}")
    reset_settings()
    assert secrets.decrypt(sealed, "c") == b"x"
    assert secrets.encrypt(b"x", "c")[1:3] == b"k2"
    monkeypatch.setenv("SUPPLYHUB_SECRET_KEYS", new)
    reset_settings()
    with pytest.raises(Misconfigured, match="needs a key"):
        secrets.decrypt(sealed, "c")
    monkeypatch.undo()
    reset_settings()


def test_people_are_masked() -> None:
    assert secrets.mask_phone("13812341234") == "138****1234"
    assert secrets.mask_phone("123") == "****"
    assert secrets.mask_name("李小伟") == "李**"


async def test_an_edited_or_deleted_audit_row_is_found(database: db.Database) -> None:
    async with db.uow() as tx:
        for n in range(4):
            await audit.record(tx, "key:1", "policy.changed", f"mall:{n}", {"n": n, "谁": "采购"})
    async with db.uow() as tx:
        assert await audit.first_broken(tx) is None
        await tx.run("""UPDATE audit SET facts = '{"n": 9}' WHERE id = 3""")
        assert await audit.first_broken(tx) == 3
        await tx.run("DELETE FROM audit WHERE id = 3")
        assert await audit.first_broken(tx) == 4


def test_logs_show_no_secret_and_no_person() -> None:
    event = log.redact(
        None,
        "info",
        {
            "event": "GET https://u:hunter2@shop.example/x?consumer_secret=cs_123&a=1",
            "api_key": "k",
            "nested": {"phone": "13812341234", "fine": "Bearer abcdefghijkl"},
            "lines": ["token=abc", "shk_mall_ABCDEFghijkl"],
        },
    )
    text = json.dumps(event, ensure_ascii=False)
    for secret in ("hunter2", "cs_123", "13812341234", "abcdefghijkl", "=abc", "ghijkl", '"k"'):
        assert secret not in text, secret
    assert "a=1" in text
    assert structlog.get_logger() is not None and io is not None

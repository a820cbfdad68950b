"""The one typed configuration tree. Every value may be set by an environment variable `SUPPLYHUB_<NAME>`;
with none set, the hub runs on embedded servers inside `data_dir`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """All settings, with units in their names or descriptions."""

    model_config = SettingsConfigDict(env_prefix="SUPPLYHUB_", extra="forbid", frozen=True)

    data_dir: Path = Field(Path(".data"), description="Where embedded servers and generated keys live.")
    database_url: SecretStr | None = Field(
        None, description="postgresql://user:password@host/db of a real cluster; unset = embedded PostgreSQL."
    )
    redis_url: SecretStr | None = Field(
        None, description="redis://host:port/0 of a real server; unset = embedded Valkey."
    )
    host: str = Field("127.0.0.1", description="Address the web server listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port the web server listens on; 0 picks a free one.")
    web_processes: int = Field(1, ge=1, description="Web processes; more than one runs under gunicorn.")
    flow_processes: int = Field(1, ge=1, description="Celery processes for events and order placing.")
    sync_processes: int = Field(1, ge=1, description="Celery processes for vendor pulls (the slow bulkhead).")
    match_processes: int = Field(
        1, ge=0, description="Celery processes that hold new listings against the catalogue; 0 = on other machines."
    )
    pool_size: int = Field(20, ge=1, description="Database connections per process, at most.")
    searches_at_once: int = Field(4, ge=1, description="Searches per process that the database works on at a time.")
    statement_timeout_ms: int = Field(60_000, ge=0, description="Longest statement, in milliseconds.")
    lock_timeout_ms: int = Field(10_000, ge=0, description="Longest wait for a row lock, in milliseconds.")
    body_limit_bytes: int = Field(16 * 2**20, description="Largest decompressed request body.")
    vendor_response_limit_bytes: int = Field(
        256 * 2**20, description="Largest decompressed response accepted from a vendor."
    )
    egress_allow: str = Field(
        "", description="Comma-separated host:port pairs outside the public internet that vendors may live at."
    )
    secret_keys: SecretStr | None = Field(
        None, description="id:base64key[,id:base64key…]; the first encrypts. Unset = generated in data_dir."
    )
    reserve_ttl_s: int = Field(900, ge=1, description="How long an unconfirmed reservation is held, seconds.")
    accept_unknown_after_s: int = Field(
        5, ge=0, description="Pause before a vendor is asked about an order whose answer was lost, seconds."
    )
    accept_deadline_s: int = Field(
        4 * 3600,
        ge=60,
        description="Longest wait for a vendor's decision before an order goes elsewhere, seconds.",
    )
    mall_open_reservations: int = Field(5_000, ge=1, description="Most unconfirmed reservations per mall.")
    stock_promise_s: int = Field(
        3600, ge=1, description="Freshness promise of stock, seconds; older than twice this counts as out."
    )
    unlist_share: float = Field(
        0.3, ge=0, le=1, description="Largest share of a connection's listings that one pull may take off sale unasked."
    )
    reference_fresh_s: int = Field(
        7 * 86400, ge=1, description="How old a reference price may be before the verdict is unknown, seconds."
    )
    rate_fresh_days: int = Field(
        4, ge=0, description="How many days before an observation its exchange rate may be of, days."
    )
    price_move_ratio: float = Field(
        10, ge=0, description="A price that moves by this factor at once waits for confirmation; 0 lets all pass."
    )
    upload_limit_bytes: int = Field(
        2**30, ge=2**20, description="Largest decompressed body of an upload that is taken line by line."
    )
    quota_mall_per_minute: int = Field(
        300_000, ge=0, description="Calls a minute that a mall's key may make; 0 = no limit."
    )
    quota_vendor_per_minute: int = Field(
        300_000, ge=0, description="Calls a minute that a vendor's key may make; 0 = no limit."
    )
    quota_staff_per_minute: int = Field(
        60_000, ge=0, description="Calls a minute that a procurement key may make; 0 = no limit."
    )
    changes_kept_days: int = Field(
        30, ge=1, description="How long /changes reaches back, days; an older cursor begins with a full read."
    )
    key_cache_s: float = Field(5.0, ge=0, description="How long an API key's lookup is cached, seconds.")
    log_format: Literal["console", "json"] = Field("console", description="Log lines for people or machines.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    clock_file: Path | None = Field(
        None, description="A file holding an offset in seconds added to the clock; for demos and drills only."
    )
    failpoint: str = Field("", description="Name of a failpoint at which the process kills itself (tests).")

    @property
    def secrets_file(self) -> Path:
        return self.data_dir / "secret.keys"


@functools.cache
def settings() -> Settings:
    """The process-wide settings, read once from the environment."""
    return Settings()


def reset_settings() -> None:
    """Forget the cached settings so that the next call reads the environment again (tests, `up`)."""
    settings.cache_clear()

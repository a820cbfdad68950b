"""Outgoing connections reach the public internet and the allow-list, and nothing else."""

from __future__ import annotations

import socket

import httpx
import pytest
from aiohttp import web

from hub.kernel import egress, http
from hub.kernel.errors import Retry
from hub.kernel.settings import reset_settings

FORBIDDEN = [
    "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/",
    "http://017700000001/", "http://0/", "http://0.0.0.0/", "http://10.0.0.8/", "http://172.16.3.4/",
    "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/", "http://100.64.0.1/", "http://[::1]/",
    "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fe80::1%25eth0]/", "http://[fc00::1]/",
    "http://[ff02::1]/", "http://224.0.0.1/", "http://255.255.255.255/", "http://192.0.2.1/", "http://localhost/",
 "file:///etc/passwd", "ftp://example.com/", "gopher://127.0.0.1/",
    "http://user:pw@example.com/",
]  # fmt: skip


@pytest.mark.parametrize("url", FORBIDDEN)
async def test_no_inside_address_is_reached(url: str) -> None:
    async with http.client(timeout_s=3) as client:
        with pytest.raises(Exception) as caught:
            await client.get(url)
    failure = http.as_hub_error(caught.value)
    assert isinstance(failure, egress.EgressRefused), failure


def test_every_private_block_is_refused_whole() -> None:
    addresses = [
        f"{a}.{b}.{c}.7"
        for a, b in ((10, 1), (10, 255), (127, 9), (169, 254), (172, 16), (172, 31), (192, 168), (100, 64), (0, 3))
        for c in range(0, 256, 5)
    ]
    assert len(addresses) > 450
    assert not any(egress.is_public(address) for address in addresses)
    assert not any(egress.is_public(f"::ffff:{address}") for address in addresses)
    assert egress.is_public("8.8.8.8") and egress.is_public("2606:4700::1111")


async def test_a_name_that_resolves_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def inside(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", inside)
    async with http.client(timeout_s=3) as client:
        with pytest.raises(Exception) as caught:
            await client.get("http://shop.example.com/")
    assert isinstance(http.as_hub_error(caught.value), egress.EgressRefused)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.0.0.8", "169.254.169.254", "[::1]", "::ffff:127.0.0.1", "2130706433", "0x7f.1", "localhost"],
)
async def test_no_inside_host_is_resolved_for_other_protocols(host: str) -> None:
    with pytest.raises(egress.EgressRefused):
        await egress.resolve_public(host, 22)


async def test_a_host_is_pinned_to_its_public_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "mixed.example.com": ["10.0.0.8", "8.8.8.8", "8.8.8.8", "2606:4700::1111"],
        "inside.example.com": ["127.0.0.1"],
    }

    async def resolve(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        if host not in answers:
            raise OSError("no such host")
        rest = {"port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [{"hostname": host, "host": address, **rest} for address in answers[host]]

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    assert await egress.resolve_public("mixed.example.com", 22) == ["8.8.8.8", "2606:4700::1111"]
    with pytest.raises(egress.EgressRefused):
        await egress.resolve_public("inside.example.com", 22)
    with pytest.raises(Retry):
        await egress.resolve_public("nowhere.example.com", 22)
    monkeypatch.setenv("SUPPLYHUB_EGRESS_ALLOW", "inside.example.com:2022")
    reset_settings()
    try:
        assert await egress.resolve_public("inside.example.com", 2022) == ["127.0.0.1"]
        with pytest.raises(egress.EgressRefused):
            await egress.resolve_public("inside.example.com", 22)
    finally:
        monkeypatch.undo()
        reset_settings()


async def test_the_allow_list_opens_one_port_and_redirects_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    hits: list[str] = []

    async def hello(request: web.Request) -> web.Response:
        hits.append(request.path)
        if request.path == "/away":
            raise web.HTTPFound("http://127.0.0.1:1/inside")
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/{tail:.*}", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    monkeypatch.setenv("SUPPLYHUB_EGRESS_ALLOW", f"127.0.0.1:{port}")
    reset_settings()
    try:
        async with http.client(timeout_s=3) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).text == "hello"
            assert (await client.get(f"http://127.0.0.1:{port}/away")).status_code == 302
            with pytest.raises(egress.EgressRefused):
                await client.get(f"http://127.0.0.1:{port + 1}/")
        assert hits == ["/", "/away"]
    finally:
        await runner.cleanup()
        monkeypatch.undo()
        reset_settings()


async def test_a_declared_or_real_oversize_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    response = httpx.Response(200, content=b"x" * 5000)
    with pytest.raises(Exception, match="larger than 4096 bytes"):
        await http.capped_body(response, 4096)
    assert len(await http.capped_body(httpx.Response(200, content=b"x" * 4096), 4096)) == 4096


async def test_no_cookie_of_a_vendor_is_kept() -> None:
    """A session cookie would make one session of what two orders do at the same time."""
    sent: list[str | None] = []

    def server(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("Cookie"))
        return httpx.Response(200, headers={"Set-Cookie": "session=1; Path=/"})

    async with http.client(transport=httpx.MockTransport(server)) as client:
        await client.get("https://shop.example/a")
        await client.get("https://shop.example/b")
        await client.get("https://shop.example/c", headers={"Cookie": "session=of-our-own"})
    assert sent == [None, None, "session=of-our-own"]

"""The browser of the browser tests: it runs scripts, and it reaches nothing but this machine."""

import asyncio

import pytest
from playwright.async_api import Error, Page

PAGE = b"<!doctype html><p id=clock>-</p><script>document.all.clock.textContent = 6 * 7</script>"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE)
    await writer.drain()
    writer.close()


async def test_a_page_of_this_machine_is_shown_and_its_script_runs(page: Page) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await page.goto(f"http://127.0.0.1:{port}/")
        assert await page.text_content("#clock") == "42"


async def test_no_other_host_is_found(page: Page) -> None:
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        await page.goto("http://fonts.example.com/")

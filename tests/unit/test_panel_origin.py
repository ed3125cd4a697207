"""Which requests the panel takes, by what browsers say of them."""

import pytest

from admin.origin import is_welcome

HOST = "panel.example"
OWN = f"https://{HOST}"
LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
FRAME = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}

CHANGES = {  # name: (headers, welcome)
    "own page": ({"origin": OWN, "sec-fetch-site": "same-origin"}, True),
    "own page, a browser without Sec-Fetch-Site (http)": ({"origin": OWN}, True),
    "own page, a browser without Origin": ({"sec-fetch-site": "same-origin"}, True),
    "no browser": ({}, False),
    "another site": ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, False),
    "another port": ({"origin": f"{OWN}:444", "sec-fetch-site": "same-site"}, False),
    "another port, without Sec-Fetch-Site": ({"origin": f"{OWN}:444"}, False),
    "the same host by http": ({"origin": f"http://{HOST}"}, False),
    "a host that begins like ours": ({"origin": f"{OWN}.evil.example"}, False),
    "a sandboxed frame": ({"origin": "null", "sec-fetch-site": "cross-site"}, False),
    "typed in, or a bookmark": ({"sec-fetch-site": "none"}, False),
    "one of the two is wrong": ({"origin": OWN, "sec-fetch-site": "same-site"}, False),
    "the other is wrong": ({"origin": "null", "sec-fetch-site": "same-origin"}, False),
    "an empty Origin": ({"origin": "", "sec-fetch-site": "same-origin"}, False),
}
READS = {
    "own page": ({"sec-fetch-site": "same-origin"}, True),
    "typed in": ({"sec-fetch-site": "none"}, True),
    "no browser": ({}, True),
    "a link that was followed": ({"sec-fetch-site": "cross-site", **LINK}, True),
    "a frame": ({"sec-fetch-site": "cross-site", **FRAME}, False),
    "a frame of another port": ({"sec-fetch-site": "same-site", **FRAME}, False),
    "a script of another port": ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, False),
    "an image": ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}, False),
}


@pytest.mark.parametrize(("headers", "welcome"), CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_changes(method: str, headers: dict[str, str], welcome: bool) -> None:
    assert is_welcome(method, {"host": HOST, **headers}, scheme="https") is welcome


@pytest.mark.parametrize(("headers", "welcome"), READS.values(), ids=READS.keys())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reads(method: str, headers: dict[str, str], welcome: bool) -> None:
    assert is_welcome(method, {"host": HOST, **headers}, scheme="https") is welcome

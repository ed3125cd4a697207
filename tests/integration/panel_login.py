"""The panel's login as a browser sends it: with the token of its page, from its own origin."""

import re
from urllib.parse import urlsplit

import httpx
from argon2 import PasswordHasher

PASSWORD = "the-operators-password"
# One that is quick to check; what is made in earnest takes a tenth of a second each time.
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
TOKEN = re.compile(r'name="token" value="([^"]+)"')


def token_in(page: httpx.Response) -> str:
    """Return the token in a page's form."""
    found = TOKEN.search(page.text)
    assert found is not None, page.text
    return found[1]


async def send_form(http: httpx.AsyncClient, path: str, form: dict[str, str]) -> httpx.Response:
    """Send a form as one of the panel's own pages does."""
    url = http.base_url.join(path)
    headers = {"Origin": "{0.scheme}://{0.netloc}".format(urlsplit(str(url)))}
    return await http.post(path, data=form, headers=headers)


async def try_login(http: httpx.AsyncClient, *, user: str, password: str) -> httpx.Response:
    """Open the login, fill it in and send it; 303 lets us in."""
    token = token_in(await http.get("/rust_admin/login"))
    form = {"token": token, "username": user, "password": password}
    return await send_form(http, "/rust_admin/login", form)

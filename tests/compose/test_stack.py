"""What a user of docker compose does: bring it up, trade, lose services, back up, restore."""

import json
import stat

import httpx
import pytest

from tests.compose.conftest import ROOT, Stack, until

SERVICES = ("backend", "monitor", "paper", "prefect", "postgres")
COUNT_RUNS = """
import json, urllib.request
def ask(path, body):
    request = urllib.request.Request("http://127.0.0.1:4200/api/" + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=10))
names = {flow["id"]: flow["name"] for flow in ask("flows/filter", {})}
runs = ask("flow_runs/filter", {"limit": 200})
print(json.dumps(sorted({names[run["flow_id"]] + " " + run["state_type"] for run in runs})))
"""


def send_alert(stack: Stack) -> None:
    """Send the sample alert; it must open a cycle."""
    alert = json.loads((ROOT / "docs" / "sample-alert.json").read_text())
    alert |= {"secret": stack.variable("WEBHOOK_SECRET"), "id": str(stack.sql("SELECT now()"))}
    answer = httpx.post(f"{stack.url}/webhook", json=alert, timeout=5)
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted"), answer.text


def closed_cycles(stack: Stack) -> int:
    return int(stack.sql("SELECT count(*) FROM cycle WHERE ended_at IS NOT NULL"))


def test_everything_comes_up_and_nothing_else_is_reachable(stack: Stack) -> None:
    stack.ready()
    assert stat.S_IMODE((stack.folder / ".env").stat().st_mode) == 0o600
    assert stack("exec", "-T", "backend", "id", "--user") == "10001"
    published = stack("ps")
    assert "127.0.0.1:" in published
    assert "0.0.0.0:" not in published


def test_no_alert_without_the_secret(stack: Stack) -> None:
    alert = (ROOT / "docs" / "sample-alert.json").read_text()
    answer = httpx.post(f"{stack.url}/webhook", content=alert, timeout=5)
    assert answer.status_code == 401


def test_an_alert_becomes_a_cycle_that_closes(stack: Stack) -> None:
    send_alert(stack)
    until(lambda: {} if closed_cycles(stack) == 1 else None, "the cycle's end")
    assert stack.sql("SELECT close_reason FROM cycle") in ("pnl", "take_profit", "trailing")
    assert stack.sql("SELECT count(*) FROM alarm") == "0"


def test_its_flows_are_seen_in_prefect(stack: Stack) -> None:
    wanted = {"open_long_position COMPLETED", "order_filled_flow COMPLETED"}

    def seen() -> dict[str, object] | None:
        runs = json.loads(stack("exec", "-T", "prefect", "python", "-c", COUNT_RUNS))
        return {} if wanted <= set(runs) else None

    until(seen, "the flow runs")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_dies_comes_back(stack: Stack, service: str) -> None:
    stack("kill", "--signal", "KILL", service)
    stack("up", "--detach")
    stack.ready()


def test_it_trades_after_all_that(stack: Stack) -> None:
    before = closed_cycles(stack)
    send_alert(stack)
    until(lambda: {} if closed_cycles(stack) == before + 1 else None, "the cycle's end")


def test_backup_and_restore(stack: Stack) -> None:
    cycles = closed_cycles(stack)
    stack.run("make", "backup", f"COMPOSE={stack.env['COMPOSE']}")
    (dump,) = (stack.folder / "backups").iterdir()
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    stack.sql("DELETE FROM alarm; UPDATE cycle SET close_reason = 'outside'")
    stack.run("make", "restore", f"FILE={dump}", f"COMPOSE={stack.env['COMPOSE']}")
    stack.ready()
    assert closed_cycles(stack) == cycles
    assert stack.sql("SELECT count(*) FROM cycle WHERE close_reason = 'outside'") == "0"


def test_it_stops_within_ten_seconds(stack: Stack) -> None:
    stack("stop", "--timeout", "10", "backend", "monitor")
    assert stack.sql("SELECT count(*) FROM monitor_lease WHERE expires_at > now()") == "0"

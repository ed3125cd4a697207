"""The operator's command line: look at what is open, and ask the monitor to act on it.

    python operate.py status
    python operate.py close BTCUSDT
    python operate.py kill --close-all
    python operate.py alarms
    python operate.py adopt BTCUSDT --alert alert.json
    python operate.py secret create tradingview
    python operate.py password

A request is a row that the monitor finds, carries out and answers; nothing is traded from here. The
kill switch is a row, too, which every beginning of a cycle looks at. `adopt` reads the exchange and
writes the row of a cycle, which the monitor takes on.
Exit codes: 0 done, 1 not done (yet), 2 a wrong word or a wrong setting.
"""

import argparse
import asyncio
import getpass
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from config import Settings, load_settings
from core.alert_secrets import make_secret, secret_name
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from core.descriptions import (
    described_adoption,
    described_alarm,
    described_cycle,
    described_kill,
    described_secret,
)
from core.domain.cycle import Cycle, OperatorAction
from core.errors import (
    AlertInvalid,
    ConfigInvalid,
    ExchangeError,
    GuardRefused,
    NoticeUndelivered,
    StoreError,
)
from core.passwords import hashed
from core.ports import Notice, Topic
from core.schemas.webhook import parse_alert, parse_symbol
from flows.adopt import Asked, adopt_position
from flows.gateway import make_gateway
from flows.notices import make_notifiers

EXIT_NOT_DONE: Final = 1
EXIT_USAGE: Final = 2
ANSWER_WITHIN_S: Final = 10.0
LOOK_EVERY_S: Final = 0.1
ALARMS_SHOWN: Final = 100

ACTIONS: Final = {
    "close": (OperatorAction.CLOSE, "close both sides and end the cycle"),
    "close-long": (OperatorAction.CLOSE_LONG, "close LONG; the cycle then closes the rest"),
    "close-short": (OperatorAction.CLOSE_SHORT, "close SHORT; no hedge until allow-hedges"),
    "pause": (OperatorAction.PAUSE, "place no new level or hedge; exits go on"),
    "resume": (OperatorAction.RESUME, "end a pause"),
    "cancel": (OperatorAction.CANCEL_LEVELS, "withdraw every level that is not filled"),
    "hands-off": (OperatorAction.HANDS_OFF, "place, change, cancel and close nothing any more"),
    "hands-on": (OperatorAction.HANDS_ON, "end hands-off"),
    "allow-hedges": (OperatorAction.ALLOW_HEDGES, "hedge again after SHORT was closed by hand"),
    "forget-missing": (
        OperatorAction.FORGET_MISSING,
        "take orders as over that the exchange does not show any more",
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Carry out one command and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "password":
            return show_hash()
        settings = load_settings()
        if options.command == "notify-test":
            return send_test_notice(settings)
        return _with_database(settings, options)
    except ConfigInvalid as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_NOT_DONE


def _with_database(settings: Settings, options: argparse.Namespace) -> int:
    try:
        if settings.sqlite_path is not None and not settings.sqlite_path.exists():
            sys.stderr.write(f"operate: there is no database {settings.shown_url} yet\n")
            return EXIT_NOT_DONE
        return asyncio.run(_carry_out(settings, options))
    except StoreError as error:
        first = str(error).splitlines()[0]
        sys.stderr.write(f"operate: database {settings.shown_url}: {first}\n")
        return EXIT_NOT_DONE
    except (AlertInvalid, ExchangeError, GuardRefused) as error:
        sys.stderr.write(f"operate: {error}\n")
        return EXIT_NOT_DONE


async def _carry_out(settings: Settings, options: argparse.Namespace) -> int:
    match options.command:
        case "status":
            return await show_status(settings, options.symbol)
        case "watched":
            return await tell_unwatched(settings)
        case "secret":
            return await keep_secrets(settings, options)
        case "kill":
            return await kill(settings, options)
        case "alarms":
            return await show_alarms(settings)
        case "settle":
            return await settle(settings, options.number)
        case "adopt":
            return await adopt(settings, options)
        case action:
            return await ask(settings, action, options.symbol, within_s=options.wait)


async def show_status(settings: Settings, symbol: str | None) -> int:
    """Print the open cycles of one symbol, or of all that are watched."""
    symbols = settings.symbols if symbol is None else (symbol,)
    async with _store(settings) as store:
        cycles = await store.load_open(symbols, ended_after_ms=_now_ms())
        watched = await store.watched(symbols)
        thrown = await store.killed()
        alarms = await store.raised_alarms(ALARMS_SHOWN)
    if thrown is not None:
        _say(described_kill(thrown))
    for name in symbols:
        of_symbol = [cycle for cycle in cycles if cycle.symbol == name and cycle.is_open]
        _say(f"{name}: {'watched' if name in watched else 'NOT WATCHED'}")
        for line in (line for cycle in of_symbol for line in described_cycle(cycle)):
            _say(f"  {line}")
        for alarm in (alarm for alarm in alarms if alarm.symbol == name):
            _say(f"  {described_alarm(alarm)}")
        if not of_symbol:
            _say("  no open cycle")
    return 0


async def tell_unwatched(settings: Settings) -> int:
    """Print every symbol of SYMBOLS that no monitor watches; a failure if there is one."""
    async with _store(settings) as store:
        watched = await store.watched(settings.symbols)
    missing = [name for name in settings.symbols if name not in watched]
    if missing:
        _say(f"nobody watches {', '.join(missing)}")
    return EXIT_NOT_DONE if missing else 0


async def ask(settings: Settings, command: str, symbol: str, *, within_s: float) -> int:
    """Ask the monitor, wait for its answer and print it."""
    action, _ = ACTIONS[command]
    async with _store(settings) as store:
        is_paused = await _keep_pause(store, action, symbol)
        cycle = await store.open_cycle(symbol)
        if cycle is None:
            _say(f"{symbol} has no open cycle")
            return 0 if is_paused else EXIT_NOT_DONE
        number = await _request(store, cycle, action)
        if number is None:
            _say(f"cycle {cycle.key} has just ended")
            return EXIT_NOT_DONE
        result = await _result(store, number, within_s=within_s)
        if result is None:
            state = "is being watched" if await store.is_watched(symbol) else "is NOT watched now"
            _say(f"request {number} is stored and waits for the monitor; {symbol} {state}")
            return EXIT_NOT_DONE
    _say(f"{command} {symbol}, cycle {cycle.key}: {result}")
    return 0


async def _request(store: SqlCycleStore, cycle: Cycle, action: OperatorAction) -> int | None:
    return await store.ask_operator(
        cycle.cycle_id, action, asked_by=_asker(), asked_at_ms=_now_ms()
    )


async def adopt(settings: Settings, options: argparse.Namespace) -> int:
    """Take a position on that no cycle knows, with an alert's settings, and print what follows."""
    body = options.alert.read_bytes()
    alert = parse_alert(body, mg_mode_default=settings.mg_mode)
    gateway = make_gateway(settings)
    asked = Asked(
        symbol=options.symbol,
        alert=alert,
        asked_by=_asker(),
        is_confirmed=options.yes,
    )
    try:
        async with _store(settings) as store:
            await gateway.sync_clock()
            found = await adopt_position(gateway, store, gateway, asked, settings.policy)
            is_watched = await store.is_watched(options.symbol)
    finally:
        await gateway.close()
    for line in described_adoption(found):
        _say(line)
    if not options.yes:
        _say("nothing was done; add --yes to take it on")
        return EXIT_NOT_DONE
    watched = "the monitor takes it on" if is_watched else f"{options.symbol} is NOT watched now"
    _say(f"cycle {found.cycle.key} has begun; {watched}")
    return 0


async def _keep_pause(store: SqlCycleStore, action: OperatorAction, symbol: str) -> bool:
    """Let no cycle, or cycles again, be opened on the symbol; False if that was not asked for."""
    if action is OperatorAction.PAUSE:
        await store.pause_symbol(symbol, asked_by=_asker(), asked_at_ms=_now_ms())
        _say(f"{symbol} is paused: its alerts open nothing until resume")
    elif action is OperatorAction.RESUME:
        await store.resume_symbol(symbol)
        _say(f"{symbol} is not paused: its alerts open cycles")
    else:
        return False
    return True


async def kill(settings: Settings, options: argparse.Namespace) -> int:
    """Throw the kill switch (and have everything closed), or take it back."""
    async with _store(settings) as store:
        if options.undo:
            was_thrown = await store.revive_trading()
            _say("alerts open cycles again" if was_thrown else "the kill switch was not thrown")
            return 0
        await store.kill_trading(by=_asker())
        _say("killed: no cycle is opened until operate.py kill --undo; open ones go on")
        return await _close_all(store, within_s=options.wait) if options.close_all else 0


async def _close_all(store: SqlCycleStore, *, within_s: float) -> int:
    """Ask for the close of every open cycle, and tell what the monitors answer."""
    asked: dict[str, int] = {}
    for symbol in await store.open_symbols():
        cycle = await store.open_cycle(symbol)
        number = None if cycle is None else await _request(store, cycle, OperatorAction.CLOSE)
        if number is not None:
            asked[symbol] = number
    if not asked:
        _say("no cycle is open")
    answers = await asyncio.gather(
        *(_result(store, number, within_s=within_s) for number in asked.values())
    )
    for (symbol, number), answer in zip(asked.items(), answers, strict=True):
        _say(f"close {symbol}: {answer or f'request {number} waits for its monitor'}")
    return EXIT_NOT_DONE if None in answers else 0


async def show_alarms(settings: Settings) -> int:
    """Print the alarms that nobody has settled."""
    async with _store(settings) as store:
        alarms = await store.raised_alarms(ALARMS_SHOWN)
        count = await store.count_raised_alarms()
    for alarm in alarms:
        _say(described_alarm(alarm))
    more = f", the newest {len(alarms)} shown" if count > len(alarms) else ""
    _say(f"{count} not settled{more}")
    return 0


async def settle(settings: Settings, number: int | None) -> int:
    """Settle one alarm, or all."""
    async with _store(settings) as store:
        count = await store.settle_alarms(number, by=_asker())
    if number is not None and not count:
        _say(f"there is no alarm {number}, or it was settled")
        return EXIT_NOT_DONE
    _say(f"settled: {count}")
    return 0


def send_test_notice(settings: Settings) -> int:
    """Send one notice to every channel, whatever its level and hour, and tell what came of it."""
    channels = make_notifiers(settings)
    if not channels:
        _say("NOTIFY_URLS is not set: nobody is told anything")
        return EXIT_NOT_DONE
    notice = Notice(
        kind="test",
        symbol="",
        cycle=None,
        title="Tradebox: a test",
        text=f"Sent by {_asker()}. Notices of level {settings.notify_level} come this way.",
        severity=None,
        at_ms=_now_ms(),
        topic=Topic.DETAIL,
    )
    failed = 0
    for number, channel in enumerate(channels, start=1):
        try:
            channel.notify(notice)
        except NoticeUndelivered as error:
            failed += 1
            _say(str(error))
        else:
            _say(f"channel {number} of {len(channels)} has taken it")
    return EXIT_NOT_DONE if failed else 0


async def keep_secrets(settings: Settings, options: argparse.Namespace) -> int:
    """Make a secret of a source of alerts, list them all, or revoke one."""
    async with _store(settings) as store:
        match options.what:
            case "create":
                return await _create_secret(
                    store, options.name, may_close_all=options.may_close_all
                )
            case "revoke":
                done = await store.revoke_secret(options.number, at_ms=_now_ms())
                _say(f"secret {options.number} {'is' if done else 'is not there, or was'} revoked")
                return 0 if done else EXIT_NOT_DONE
            case _:
                lines = [described_secret(secret) for secret in await store.secrets()]
                _say("\n".join(lines) or "no secret was made yet")
                return 0


async def _create_secret(store: SqlCycleStore, name: str, *, may_close_all: bool) -> int:
    made = await make_secret(
        store,
        name,
        may_close_all=may_close_all,
        created_by=_asker(),
        created_at_ms=_now_ms(),
    )
    _say(f"secret {made.secret_id} of {name}, valid in two seconds, shown only now:")
    _say(made.text)
    _say(f'in the alert: "secret": "{made.text}"; or in its address: …/webhook/{made.text}')
    return 0


def show_hash() -> int:
    """Ask for a password and print its hash; neither settings nor a database are needed."""
    is_person = sys.stdin.isatty()
    password = getpass.getpass("password: ") if is_person else sys.stdin.readline().rstrip("\r\n")
    if not password:
        sys.stderr.write("operate: that is no password\n")
        return EXIT_NOT_DONE
    if is_person and getpass.getpass("once more: ") != password:
        sys.stderr.write("operate: those were two different passwords\n")
        return EXIT_NOT_DONE
    _say(f"ADMIN_PASSWORD='{hashed(password)}'")
    return 0


async def _result(store: SqlCycleStore, number: int, *, within_s: float) -> str | None:
    give_up = time.monotonic() + within_s
    while True:
        result = await store.operator_result(number)
        if result is not None or time.monotonic() >= give_up:
            return result
        await asyncio.sleep(LOOK_EVERY_S)  # the monitor is another process: only the row tells


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[SqlCycleStore]:
    store = SqlCycleStore(make_engine(settings.async_url))
    try:
        yield store
    finally:
        await store.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python operate.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="show what is open")
    status.add_argument("symbol", nargs="?", type=_symbol, default=None, metavar="SYMBOL")
    commands.add_parser("password", help="ask for a password, and print its hash for .env")
    commands.add_parser("watched", help="succeed if every symbol of SYMBOLS is watched")
    _add_secret_commands(commands.add_parser("secret", help="make and revoke alerts' secrets"))
    adopt = commands.add_parser("adopt", help="take a LONG on that no cycle knows")
    adopt.add_argument("symbol", type=_symbol, metavar="SYMBOL")
    adopt.add_argument(
        "--alert",
        type=_file,
        required=True,
        metavar="FILE",
        help="an alert, whose settings the cycle gets; its amount is not looked at",
    )
    adopt.add_argument("--yes", action="store_true", help="do it, and not only say what follows")
    for name, (_, text) in ACTIONS.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("symbol", type=_symbol, metavar="SYMBOL")
        _add_wait(command)
    _add_safety_commands(commands)
    return parser


def _add_safety_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    kill = commands.add_parser("kill", help="let no cycle be opened any more, on any symbol")
    how = kill.add_mutually_exclusive_group()
    how.add_argument("--close-all", action="store_true", help="and close every open cycle")
    how.add_argument("--undo", action="store_true", help="let alerts open cycles again")
    _add_wait(kill)
    commands.add_parser("notify-test", help="send one notice to every channel of NOTIFY_URLS")
    commands.add_parser("alarms", help="show the alarms that nobody has settled")
    settle = commands.add_parser("settle", help="settle an alarm: it was looked at")
    which = settle.add_mutually_exclusive_group(required=True)
    which.add_argument("number", nargs="?", type=int, help="as alarms shows it")
    which.add_argument("--all", action="store_true", help="settle all of them")


def _add_wait(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--wait",
        type=float,
        default=ANSWER_WITHIN_S,
        metavar="SECONDS",
        help="how long to wait for the monitor's answer (default: %(default)g)",
    )


def _add_secret_commands(secret: argparse.ArgumentParser) -> None:
    what = secret.add_subparsers(dest="what", required=True, metavar="WHAT")
    create = what.add_parser("create", help="make one, and show it once")
    create.add_argument("name", type=_name, help="of the source that will carry it")
    create.add_argument(
        "--may-close-all", action="store_true", help="let it close every open cycle at once"
    )
    what.add_parser("list", help="show all, and when each was last used")
    revoke = what.add_parser("revoke", help="take one out of use")
    revoke.add_argument("number", type=int, help="as the list shows it")


def _name(text: str) -> str:
    try:
        return secret_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return path


def _symbol(text: str) -> str:
    try:
        return parse_symbol(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _asker() -> str:
    return f"{getpass.getuser()} at the shell"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""One readable line for each thing that happened to the account."""

from typing import Any

from paper.events import Event


def line(event: Event) -> str | None:
    """Return the line for an account event, None for events that say nothing new."""
    match event.stream:
        case "ORDER_TRADE_UPDATE":
            return _order(event.data["o"])
        case "ALGO_UPDATE":
            return _algo(event.data["o"])
        case "ACCOUNT_UPDATE" if event.data["a"]["m"] != "ORDER":
            return _account(event.data["a"])
        case "ACCOUNT_CONFIG_UPDATE":
            config = event.data["ac"]
            return f"leverage {config['s']} is now {config['l']}"
        case "listenKeyExpired":
            return "listen key expired"
    return None


def _order(order: dict[str, Any]) -> str:
    name = f"{order['s']} {order['S']} {order['ps']}"
    match order["x"]:
        case "TRADE" | "CALCULATED":
            role = "maker" if order["m"] else "taker"
            profit = "" if order["rp"] == "0" else f" profit {order['rp']}"
            return (
                f"fill   {name} {order['l']} @ {order['L']} {role} fee {order['n']}{profit} "
                f"[{order['c']} {order['z']}/{order['q']} {order['X']}]"
            )
        case "NEW":
            price = "MARKET" if order["o"] == "MARKET" else f"{order['o']} @ {order['p']}"
            return f"order  {name} {order['q']} {price} [{order['c']}]"
        case "AMENDMENT":
            return f"amend  {name} {order['q']} @ {order['p']} [{order['c']}]"
    reason = "" if order["er"] == "0" else f" reason {order['er']}"
    return f"end    {name} {order['X']}{reason} [{order['c']} {order['z']}/{order['q']}]"


def _algo(algo: dict[str, Any]) -> str | None:
    name = f"{algo['s']} {algo['S']} {algo['ps']} {algo['o']}"
    match algo["X"]:
        case "NEW":
            what = "all" if algo["cp"] else algo["q"]
            return f"stop   {name} {what} at {algo['tp']} [{algo['caid']}]"
        case "TRIGGERING":
            return f"fired  {name} at {algo['tp']} [{algo['caid']}]"
        case "TRIGGERED" | "FINISHED":
            return None
    reason = f": {algo['rm']}" if algo.get("rm") else ""
    return f"end    {name} {algo['X']}{reason} [{algo['caid']}]"


def _account(update: dict[str, Any]) -> str:
    balance = update["B"][0]
    return f"wallet {balance['wb']} after {update['m']} of {balance['bc']}"

"""What an account of several symbols adds, broken on purpose: its limits, and its leases.

Only accounts have them, so these are played on the seeds that are accounts'.
"""

from tests.simulation.mutants import DOMAIN, Mutant

ACCOUNT_MUTANTS = (
    # --- Limits ---
    Mutant(
        "MAX_TOTAL_NOTIONAL is ignored",
        "limits",
        DOMAIN + "guards.py",
        "    if limit is not None and open_now + asked > limit:\n",
        "    if False:\n",
    ),
    Mutant(
        "MAX_TOTAL_NOTIONAL forgets the new cycle",
        "limits",
        DOMAIN + "guards.py",
        "    if limit is not None and open_now + asked > limit:\n",
        "    if limit is not None and open_now > limit:\n",
    ),
    Mutant(
        "MAX_OPEN_CYCLES is ignored",
        "limits",
        DOMAIN + "guards.py",
        "    if limit is not None and count >= limit:\n",
        "    if False:\n",
    ),
    Mutant(
        "one cycle more than MAX_OPEN_CYCLES",
        "limits",
        DOMAIN + "guards.py",
        "    if limit is not None and count >= limit:\n",
        "    if limit is not None and count > limit:\n",
    ),
    Mutant(
        "MAX_DAILY_LOSS is ignored",
        "limits",
        DOMAIN + "guards.py",
        "    if limit is not None and result <= -limit:\n",
        "    if False:\n",
    ),
    Mutant(
        "MAX_DAILY_LOSS forgets what open cycles lose",
        "limits",
        DOMAIN + "guards.py",
        "    result = state.ended_net_pnl + open_losses\n",
        "    result = state.ended_net_pnl\n",
    ),
    Mutant(
        "a loss of yesterday counts today",
        "limits",
        DOMAIN + "guards.py",
        "    return now_ms - now_ms % DAY_MS\n",
        "    return now_ms - DAY_MS\n",
    ),
    Mutant(
        "SYMBOL_COOLDOWN is ignored",
        "limits",
        DOMAIN + "guards.py",
        "    if not guards.symbol_cooldown_ms or ended_at is None:\n",
        "    if True:\n",
    ),
    Mutant(
        "a cycle that bought nothing starts a cool-down",
        "limits",
        "core/clients/memory_safety.py",
        "    return cycle.symbol == symbol and cycle.close_reason not in never\n",
        "    return cycle.symbol == symbol\n",
    ),
    Mutant(
        "the kill switch is ignored",
        "limits",
        DOMAIN + "guards.py",
        "    if state.kill is not None:\n",
        "    if False:\n",
    ),
    Mutant(
        "limits are not looked at as the cycle begins",
        "limits",
        "flows/positions_flow.py",
        "        guards=entries.guards,\n",
        "",
    ),
    Mutant(
        "a ladder may come as near to liquidation as it likes",
        "limits",
        "core/liquidation_checks.py",
        "    if min_distance is None or grid.violations:\n",
        "    if True:\n",
    ),
    Mutant(
        "what other cycles may lose stands behind a new one",
        "limits",
        "core/entry_checks.py",
        "    return picture.balance.wallet - picture.open_cycles_margin\n",
        "    return picture.balance.wallet\n",
    ),
    Mutant(
        "liquidation lies below the market whenever LONG is larger",
        "limits",
        "core/liquidation_checks.py",
        "is_above=is_lost_above_market(rung, rules)",
        "is_above=rung.short_quantity >= rung.long_quantity",
    ),
    Mutant(
        "averaging goes on where liquidation is near",
        "near liquidation",
        DOMAIN + "liquidation.py",
        "    return withdraw_levels(cycle, left)\n",
        "    return cycle\n",
    ),
    Mutant(
        "the liquidation price is not read again after a fill",
        "near liquidation",
        DOMAIN + "liquidation.py",
        "    if read is None or (read.long, read.short) != "
        "(cycle.long.quantity, cycle.short.quantity):\n        return None\n",
        "",
    ),
    # --- Leases ---
    Mutant(
        "the epoch of a lease is not checked",
        "leases",
        "core/clients/memory_store.py",
        "        if lease is not None:\n            self._require_lease(lease)\n",
        "",
    ),
    Mutant(
        "a lease is taken from whoever holds it",
        "leases",
        "core/clients/memory_store.py",
        "            if held.lease.owner != owner:\n                return None\n"
        "            held.expires_at_ms",
        "            held.lease = replace(held.lease, owner=owner)\n            held.expires_at_ms",
    ),
    Mutant(
        "a new holder keeps the old epoch",
        "leases",
        "core/clients/memory_store.py",
        "            epoch = 1 if held is None else held.lease.epoch + 1\n",
        "            epoch = 1\n",
    ),
    Mutant(
        "who has lost a lease gives the other's back",
        "leases",
        "core/clients/memory_store.py",
        '        await self._begin("release_lease")\n        if self._is_held(lease):\n',
        '        await self._begin("release_lease")\n        if True:\n',
    ),
    Mutant(
        "who has not renewed sends all the same",
        "leases",
        "core/engine.py",
        "        if not self._around.may_send(self.symbol):",
        "        if False:",
    ),
    Mutant(
        "a renewal counts from its answer",
        "leases",
        "core/lease_keeper.py",
        "held.renewed_at = max(held.renewed_at, asked_at)",
        "held.renewed_at = self._seconds()",
    ),
    Mutant(
        "a renewal that failed counts",
        "leases",
        "core/lease_keeper.py",
        '                log.warning("leases not renewed", error=str(error))\n'
        "                continue\n",
        "                ours = set(leases)\n",
    ),
    Mutant(
        "leases are not renewed",
        "leases",
        "core/lease_keeper.py",
        "            leases = [held.lease for held in self._held.values()]\n",
        "            leases: list[Lease] = []\n",
    ),
)

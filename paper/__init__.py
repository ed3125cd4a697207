"""A paper exchange that speaks Binance's USDⓈ-M Futures wire.

It is written from the exchange's documentation alone and shares no code with the trading
service, so that a rounding or signing mistake cannot cancel itself out.

Reading order: `state` (what exists) → `matching` (how it changes) → `world` (the pure whole)
→ `rest` and `events` (its wire forms) → `app` (sockets).
"""

"""Pure conversions between the exchange's wire and the domain.

In: schemas of `core.schemas.binance_rest` become facts and values of the domain (`orders`,
`account`, `symbols`), those of `core.schemas.binance_stream` become news (`events`). Out: an
`OrderState` whose request is under way becomes the parameters of one HTTP request (`requests`).
Nothing here does I/O or knows the time: `at_ms` is when the news reached us, on the exchange's
clock. A word that we do not know is said (`words.Untranslatable`) and never guessed.
"""

"""Shapes of other people's JSON: alerts, and what the exchange sends."""

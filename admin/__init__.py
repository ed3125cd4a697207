"""The operator's panel."""

from admin.panel import add_panel

__all__ = ["add_panel"]

"""Who may run which tool: rules, the broker that asks a person, and the audit file of decisions."""

from __future__ import annotations

"""Alarms, dashboards and the table of metrics; `make dashboards` generates them from shared/telemetry/catalogue.py."""

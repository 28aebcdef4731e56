"""Alarms, dashboards and the table of metrics, all made from shared/telemetry/catalogue.py by `make dashboards`."""

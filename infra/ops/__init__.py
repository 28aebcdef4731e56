"""For operators: dashboards, alarms, the OpenAPI document, the Litestream configuration and policies."""

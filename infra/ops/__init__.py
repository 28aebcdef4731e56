"""What operators need beside the stack: dashboards, the OpenAPI document, Litestream configuration, policies."""

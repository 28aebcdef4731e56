"""List prices of AWS in us-east-1, in dollars, and what is free in every month for ever. Regions differ by up to a third.

Free tiers that end after twelve months, such as those of S3 and of the gateway, are left out.
"""

from typing import Final

S3_WRITE: Final = 0.005 / 1000
"""A PUT or a LIST."""
S3_READ: Final = 0.0004 / 1000
"""A GET or a HEAD. A DELETE is free."""
TABLE_WRITE_UNIT: Final = 0.625 / 1e6
"""On demand: writes or deletes 1 KB of an item."""
TABLE_READ_UNIT: Final = 0.125 / 1e6
"""On demand: reads 4 KB, strongly consistent."""
S3_GB_MONTH: Final = 0.023
LAMBDA_REQUEST: Final = 0.20 / 1e6
LAMBDA_GB_SECOND: Final = 0.0000133334
"""On arm64."""
QUEUE_REQUEST: Final = 0.50 / 1e6
"""Of a FIFO queue."""
SCHEDULE_CALL: Final = 1.00 / 1e6
GATEWAY_REQUEST: Final = 1.00 / 1e6
LOG_GB: Final = 0.50
LOG_GB_MONTH: Final = 0.03
METRIC_MONTH: Final = 0.30
ALARM_MONTH: Final = 0.10
DASHBOARD_MONTH: Final = 3.00
SECRET_MONTH: Final = 0.40

FREE: Final = {
    "Lambda requests": 1_000_000 * LAMBDA_REQUEST,
    "Lambda time": 400_000 * LAMBDA_GB_SECOND,
    "queue": 1_000_000 * QUEUE_REQUEST,
    "schedule": 14_000_000 * SCHEDULE_CALL,
    "metrics": 10 * METRIC_MONTH,
    "alarms": 10 * ALARM_MONTH,
    "dashboards": 3 * DASHBOARD_MONTH,
    "logs": 5 * LOG_GB,
}
"""Dollars of each kind of charge that are free in every month."""

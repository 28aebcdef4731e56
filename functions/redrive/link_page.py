"""The page behind the link of a notice. It loads nothing, runs no script, and tells no other site where it was opened."""

import base64
import hashlib
from html import escape
from typing import Any, Final

_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:12vh auto;padding:0 1.25rem}"
    "h1{font-size:1.25rem;overflow-wrap:anywhere}button{font:inherit;padding:.5rem 1.25rem;cursor:pointer}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer, a browser hides from this page that the button is its own
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
_BUTTON: Final = '<form method="post"><button type="submit">Acknowledge</button></form>'


def page(status: int, title: str, *words: str, button: bool = False) -> dict[str, Any]:
    """The page as an answer of a function. Every text is shown as it is, whatever it contains."""
    said = "".join(f"<p>{escape(each)}</p>" for each in words)
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{said}{_BUTTON if button else ''}</main></body></html>"
    )
    headers = HEADERS | ({"Retry-After": "60"} if status in (429, 503) else {})
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}

"""Starts Lambda's runtime client in an interpreter that can import only a function's bundle and that client.

Run as `python -I -S lambda_boot.py BUNDLE CLIENT HANDLER`: isolated and without site-packages, as in Lambda.
"""

import os
import sys


def main() -> None:
    """Serve invocations until the emulator ends."""
    bundle, client, handler = sys.argv[1:4]
    sys.path[:0] = [bundle, client]
    os.chdir(bundle)
    sys.argv = ["bootstrap", handler]
    import awslambdaric.__main__ as awslambdaricmain  # type: ignore[import-untyped]

    # Lambda's bootstrap has this global, and Sentry looks for it in order to wrap the handler.
    globals()["awslambdaricmain"] = awslambdaricmain
    awslambdaricmain.main(sys.argv)


if __name__ == "__main__":
    main()

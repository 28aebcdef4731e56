"""Starts Lambda's own runtime client in an interpreter that sees nothing but a function's bundle and that client.

Run as `python -I -S lambda_boot.py BUNDLE CLIENT HANDLER`: isolated, without site-packages, as in Lambda.
"""

import os
import sys


def main() -> None:
    """Serve invocations until the emulator goes away."""
    bundle, client, handler = sys.argv[1:4]
    sys.path[:0] = [bundle, client]
    os.chdir(bundle)
    sys.argv = ["bootstrap", handler]
    from awslambdaric.__main__ import main as serve  # type: ignore[import-untyped]

    serve(sys.argv)


if __name__ == "__main__":
    main()

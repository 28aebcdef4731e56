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
    import awslambdaric.__main__ as awslambdaricmain  # type: ignore[import-untyped]

    # under this name Lambda's own bootstrap has it, and there Sentry looks for what it surrounds
    globals()["awslambdaricmain"] = awslambdaricmain
    awslambdaricmain.main(sys.argv)


if __name__ == "__main__":
    main()

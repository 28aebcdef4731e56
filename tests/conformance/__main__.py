"""`python -m tests.conformance FILE.jsonl.gz ...`: run any file of either kind but not superseded cases; exit 1 if one fails."""

import sys
from pathlib import Path

from tests.conformance.cases import judge, read_cases, superseded


def main(paths: list[str]) -> int:
    """Print one line per failing case, then the totals."""
    if not paths:
        print("usage: python -m tests.conformance FILE.jsonl.gz ...", file=sys.stderr)
        return 2
    passed = failed = skipped = 0
    not_run = superseded()
    for path in paths:
        if not Path(path).is_file():
            print(f"{path}: no such file", file=sys.stderr)
            return 2
        for case in read_cases(Path(path)):
            if case.get("id") in not_run:
                skipped += 1
                continue
            verdict = judge(case)
            if verdict.difference:
                failed += 1
                print(f"{verdict.case_id}: {verdict.difference}")
            else:
                passed += 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} superseded" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

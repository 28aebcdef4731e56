"""How long tests wait for what must come. A test ends at once when it comes, so only a failing test takes this long.

Several tests, and all that they start, share the processors of a busy machine: a process may take seconds to start, and a
thread may stand still for one. So no test asserts that something came soon. A limit of the code that a test is not about is
`PATIENCE_SECONDS` too; a limit that it is about is reached because nothing comes at all, not because it comes late.
"""

from typing import Final

PATIENCE_SECONDS: Final = 120.0

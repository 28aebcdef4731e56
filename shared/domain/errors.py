"""Every error of the reconciler, in one tree.

    TownError                   base; .hint says what to do about it
      Retryable                 try again later: nothing is wrong with the request
        StoreUnavailable        the object store did not answer, or answered 5xx
        QueueUnavailable        the queue did not answer, or answered 5xx
        SecretsUnavailable      the place where tokens are kept did not answer
        OutOfTime               the worker's life ends too soon for a safe commit
      Conflict                  somebody else wrote first; drop this run's work
        PreconditionFailed      a conditional write met another version (412)
        ConditionRace           two conditional writes met at the store (409)
      Terminal                  will fail the same way again; a person must act
        AccessDenied            the store refused our credentials, or the directory our rights
        StoreIncapable          the store ignores conditions and cannot be used
        StoreNotFound           there is no such bucket, or not in that region or at that endpoint
        UnknownTown             no head object: the town was never created
        TownExists              a town of that id is there already
        DamagedImage            a stored object fails its checks and was not opened
        WrongTown               the image belongs to another town
        SchemaMismatch          the image has another schema version, or is no town at all
        ImageTooLarge           the image is over the size guard
      Refused                   bad input from outside; .status is the HTTP status, .path the place in the input
      UnreadableEvent           a stored event is of no known type, or its payload is invalid
      RowUnreadable             one row holds a value outside its vocabulary (violation 1)

Adapters translate foreign errors into these. An error says what was being done, to which town, and what to do about it.
"""


class TownError(Exception):
    """Base of all our errors. `hint` is one sentence that says what to do; it may be empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        """What happened, without the hint."""
        return str(self.args[0])


class Retryable(TownError):
    """Try again later."""


class StoreUnavailable(Retryable):
    """The store did not answer or failed inside; the request may or may not have been carried out."""


class QueueUnavailable(Retryable):
    """The queue did not answer or failed inside; wakes may or may not have been taken. Due markers are not touched."""


class SecretsUnavailable(Retryable):
    """The place where tokens are kept did not answer, or failed inside."""


class OutOfTime(Retryable):
    """The worker would not live to see the answer of its commit; nothing was done."""


class Conflict(TownError):
    """Somebody else wrote first."""


class PreconditionFailed(Conflict):
    """A conditional write met an object of another version, or one where none should be (412)."""


class ConditionRace(Conflict):
    """The store saw two conditional writes at once and carried out neither or the other one (409)."""


class Terminal(TownError):
    """The same request will fail the same way."""


class AccessDenied(Terminal):
    """The store refused us."""


class StoreIncapable(Terminal):
    """The store does not honour conditional writes."""


class StoreNotFound(Terminal):
    """No such bucket, or it lies in another region or behind another endpoint."""


class UnknownTown(Terminal):
    """No head object: this town was never created here."""


class TownExists(Terminal):
    """A town of that id was created before."""


class DamagedImage(Terminal):
    """A stored object fails its checks; it was not opened and nothing was repaired."""


class WrongTown(Terminal):
    """The image belongs to another town than the one asked for."""


class SchemaMismatch(Terminal):
    """The image's schema version is not ours, or it is no town database."""


class ImageTooLarge(Terminal):
    """The image is larger than the size guard allows."""


class Refused(TownError):
    """Input from outside that breaks its contract. Nothing was stored."""

    def __init__(self, message: str, *, status: int, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.path = path


class UnreadableEvent(TownError):
    """A stored event that no attempt can apply: unknown type, invalid JSON, a missing or wrong field. It is poisoned."""


class RowUnreadable(TownError):
    """A row holds a value outside its vocabulary; rules skip it and invariant 1 reports it."""

    def __init__(self, table: str, key: str, problem: str) -> None:
        super().__init__(f"{table} {key}: {problem}")
        self.table = table
        self.key = key
        self.problem = problem

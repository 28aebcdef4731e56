"""Every error of the reconciler, in one tree.

    TownError                   base; .hint says what to do
      Retryable                 try again later; the request itself is fine
        StoreUnavailable        the object store did not answer, or answered 5xx
        QueueUnavailable        the queue did not answer, or answered 5xx
        SecretsUnavailable      the secret store did not answer
        DeletedMeanwhile        an object was listed and then was gone: retention deletes beside the reader
        OutOfTime               the worker has too little time left for a safe commit
        ClocksDisagree          the worker's clock and the store's are too far apart
        NoRoomLeft              a tick met a full disk or used up the memory
      Conflict                  another writer was first; drop this run's work
        PreconditionFailed      a conditional write found another version (412)
        ConditionRace           two conditional writes reached the store at once (409)
      Terminal                  will fail again in the same way; a person must act
        AccessDenied            the store refused our credentials, or we may not access its directory
        StoreIncapable          the store ignores conditional writes and cannot be used
        StoreNotFound           no such bucket, or it is in another region or at another endpoint
        UnknownTown             there is no head object: the town was never created
          ArchivedTown          the town was put away by `townctl town archive`
        TownExists              a town with that id already exists
        DamagedImage            a stored object failed its checks and was not opened
          LostHead              the head object is missing, but not the town's history
        FromTheFuture           the town's newest commit was made by a clock that was far ahead
        WrongTown               the image belongs to another town
        SchemaMismatch          the image has an unknown schema version, or is not a town
        ImageTooLarge           the image exceeds the size limit
        SettingsInvalid         settings of a function are missing or wrong; the text names them and shows no value
      Refused                   invalid input from outside; .status is the HTTP status, .path the place in the input
      UnreadableEvent           a stored event has an unknown type or an invalid payload
      RowUnreadable             a row holds an unknown value (violation 1)

Adapters translate the errors of their systems into these. An error says what was being done, to which town, and what to do
about it.
"""


class TownError(Exception):
    """Base of all our errors. `hint` is one sentence that says what to do, or empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        """What happened, without the hint."""
        return str(self.args[0])


class Retryable(TownError):
    """The operation may succeed later."""


class StoreUnavailable(Retryable):
    """The store did not answer, or failed internally. The request may have been carried out."""


class QueueUnavailable(Retryable):
    """The queue did not answer, or failed internally. Wakes may have been accepted; due markers are not touched."""


class SecretsUnavailable(Retryable):
    """The secret store did not answer, or failed internally."""


class DeletedMeanwhile(Retryable):
    """An object was deleted between the moment when it was listed and the moment when it was read."""


class OutOfTime(Retryable):
    """The worker would be stopped before its commit is answered. Nothing was done."""


class ClocksDisagree(Retryable):
    """The worker's clock and the store's are too far apart. Nothing was done; it succeeds once the wrong clock is right."""


class NoRoomLeft(Retryable):
    """The disk or the memory was full in the middle of a tick. Nothing was changed; it succeeds where there is room."""


class Conflict(TownError):
    """Another writer was first."""


class PreconditionFailed(Conflict):
    """A conditional write found an object of another version, or one where none was expected (412)."""


class ConditionRace(Conflict):
    """The store received two conditional writes at once, and did not carry out this one (409)."""


class Terminal(TownError):
    """The same request will fail again in the same way."""


class AccessDenied(Terminal):
    """The store refused us."""


class StoreIncapable(Terminal):
    """The store does not honour conditional writes."""


class StoreNotFound(Terminal):
    """There is no such bucket, or it is in another region or at another endpoint."""


class UnknownTown(Terminal):
    """There is no head object: this town was never created here."""


class ArchivedTown(UnknownTown):
    """The town was put away: it is no town until it is brought back."""


class TownExists(Terminal):
    """A town with that id already exists."""


class DamagedImage(Terminal):
    """A stored object failed its checks. It was not opened, and nothing was repaired."""


class FromTheFuture(Terminal):
    """The town's newest commit is later than the present, so every rule would wait for its time. The town was not changed."""


class LostHead(DamagedImage):
    """The head object of a town is missing, but objects of its history are there: this town was created, and lost its head."""


class WrongTown(Terminal):
    """The image belongs to another town than the requested one."""


class SchemaMismatch(Terminal):
    """The image has a schema version that this code does not know, or is not a town database."""


class ImageTooLarge(Terminal):
    """The image exceeds the size limit."""


class SettingsInvalid(Terminal):
    """Settings of a function are missing, invalid or contradictory. The text names settings only, so it may be logged."""


class AlreadyTold(TownError):
    """A function ends with an error that was told before. It carries the class of that error and no text of it."""


class Refused(TownError):
    """Invalid input from outside. Nothing was stored. Every refusal has a hint: whoever sent the input must know what to do."""

    def __init__(self, message: str, *, status: int, hint: str, path: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.path = path


class UnreadableEvent(TownError):
    """A stored event that can never be applied: unknown type, invalid JSON, a missing or wrong field. It is poisoned."""


class RowUnreadable(TownError):
    """A row holds an unknown value. Rules skip the row, and invariant 1 reports it."""

    def __init__(self, table: str, key: str, problem: str) -> None:
        super().__init__(f"{table} {key}: {problem}")
        self.table = table
        self.key = key
        self.problem = problem

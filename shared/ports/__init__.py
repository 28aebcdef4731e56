"""The ports: every Protocol through which our code reaches the outside, with the contract for adapters and fakes.

A contract says what each method does, which errors it may raise, what None and "unknown" mean, which argument is the
idempotency key, how long a call may take, and how the caller must react to each answer. Three rules hold for all ports:

- An expected answer is a value. A method raises only what its contract names, always a class of `shared.domain.errors`.
- An error that says nothing about the outcome (StoreUnavailable, QueueUnavailable, StartUnknown) means that the request
  may have been carried out. A caller never treats it as a refusal.
- A port imports `shared.domain` and no other port; the storage ports, which speak in steps, are the exception. The core of
  a tick imports no port.

The storage ports (`town_store`, `waiting_room`, `town_past`) speak in steps (`steps`): they yield each call to the object
store instead of making it, so that production, the simulation and the crash tests drive the same code.
"""

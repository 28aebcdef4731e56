"""The map of the town reconciler: its packages and which of them may import which.

    adapters | telemetry | replay  >  questions | moving  >  runner  >  history  >  intake | storage  >  engine | images
        >  ports | rules  >  events  >  actions  >  town  >  domain

A package imports only from packages to its right. A tick needs `engine`, `rules`, `events`, `actions`, `town` and `domain`,
and nothing else: that is the core, a pure function of its arguments, and the code version covers exactly it.

- `domain`: values and vocabulary. `town`: the SQL of a tick. `events`, `actions`: the only ways to change a town. `rules`: decide
  which actions are needed. `engine`: the phases of a tick, in order.
- `ports`: protocols of the external systems. `images`: a town's image outside of ticks. `storage`: stores images, inboxes and due
  markers. `intake`: checks and accepts incoming events.
- `history`: the recorded past. `runner`: runs over towns and the loops that start them (minute, batch, passes), as steps.
  `questions`: answers about a town. `moving`: export and import. `replay`: runs past ticks again; what-ifs, recordings.
- `adapters`: implement the ports. `telemetry`: metrics, logs and error reports.
"""

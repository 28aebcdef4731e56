"""The town reconciler, from values to the outside world.

    adapters | telemetry | replay  >  questions | moving  >  runner  >  history  >  intake | storage  >  engine | images
        >  ports | rules  >  events  >  actions  >  town  >  domain

A package imports only from packages to its right. A tick needs `engine`, `rules`, `events`, `actions`, `town` and `domain`,
and nothing else: that is the core, a pure function of its arguments, and the code version covers exactly it.

- `domain`: values and vocabulary. `town`: the SQL of a tick. `events`, `actions`: what may change a town. `rules`: what ought
  to change. `engine`: the order of a tick.
- `ports`: the outside as protocols. `images`: a town's image outside of ticks. `storage`: how images, inboxes and due markers
  are kept. `intake`: how events come in.
- `history`: the recorded past. `runner`: runs over towns and the loops that run them (minute, batch, passes), as steps.
  `questions`: what people ask of a town. `moving`: export and import. `replay`: the past run again, what-ifs, recordings.
- `adapters`: the real outside. `telemetry`: metrics, logs and error reports.
"""

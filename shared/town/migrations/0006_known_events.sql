-- Rows of events that are over leave the image after hours. Of those that somebody may send again, a digest stays for days.
DROP INDEX events_sent;
DROP INDEX events_made;
CREATE INDEX events_processed ON town_events (processed_at) WHERE processed_at IS NOT NULL AND outcome IS NOT 'poisoned';
CREATE INDEX events_poisoned ON town_events (processed_at) WHERE processed_at IS NOT NULL AND outcome = 'poisoned';

CREATE TABLE known_events (
    event        TEXT NOT NULL UNIQUE,
    seq          INTEGER NOT NULL PRIMARY KEY,
    content      TEXT NOT NULL,
    outcome      TEXT,
    generation   INTEGER,
    is_unsigned  INTEGER NOT NULL DEFAULT 0 CHECK (is_unsigned IN (0, 1)),
    processed_on TEXT NOT NULL
) STRICT;

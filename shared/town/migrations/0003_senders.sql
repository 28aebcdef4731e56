-- Who sent an event, as the token of its request says: JSON with scope, agent, generation, key, token and request.
ALTER TABLE town_events ADD COLUMN sender TEXT;

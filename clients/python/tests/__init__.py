"""Stories against a real Redis and a real node, both started here."""

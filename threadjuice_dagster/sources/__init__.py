"""Where threads come from: a client, a parser and a policy for each source."""

"""The places that threads come from, each with a client, a parser and a policy, behind one interface."""

"""Pictures: how they are read, encoded, drawn and licensed."""

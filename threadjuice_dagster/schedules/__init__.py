"""When things happen: cron, time zone, description."""

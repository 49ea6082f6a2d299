"""When things run: cron expression, time zone and description. Every schedule in this folder is loaded."""

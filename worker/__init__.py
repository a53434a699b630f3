"""The process around the tasks: the Celery app, the adapters to the world, and the command line."""

"""Generations 1 and 2 of the API: the application builder, and what it takes that pipelines do not."""

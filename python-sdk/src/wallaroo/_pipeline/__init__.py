"""Pipelines, and the topology that an application of any generation compiles to."""

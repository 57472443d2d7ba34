"""The worker process: runs an application's stages for the orchestrator that started it.

``python -m wallaroo.worker --fd N`` is not meant to be run by hand. The way of a batch: ``_connection`` reads its
frame, ``_session`` decodes it, ``_stage`` takes it through the tree of steps, whose loops are in ``_steps``, and
``_results`` makes the reply.
"""

"""The tools of the end-to-end tests.

``places`` holds paths, ``interpreters`` finds Pythons and makes an environment for each, ``processes`` lists the
processes of a run and waits for their end, ``orchestrator`` runs ``wallaroo-orch``, ``clients`` has the senders and
consumers around it, ``word_counts`` and ``numbered`` give the expected output of the applications.
"""

"""What the end-to-end tests are written with.

``places`` knows where things lie, ``interpreters`` finds Pythons and gives each an environment, ``processes`` sees
which processes are there and waits for their end, ``orchestrator`` runs ``wallaroo-orch``, ``clients`` are the senders
and consumers around it, ``word_counts`` and ``numbered`` say what the applications ought to answer.
"""

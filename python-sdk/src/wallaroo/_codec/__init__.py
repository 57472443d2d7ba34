"""How keys, values and messages are written: the wire to the orchestrator, and values between workers."""

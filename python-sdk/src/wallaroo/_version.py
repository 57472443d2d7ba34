"""The version of the SDK, told to the orchestrator in the handshake."""

__version__ = "0.1.0"

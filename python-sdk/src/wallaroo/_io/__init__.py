"""Sources and sinks that users configure, and how their bytes become messages and back."""

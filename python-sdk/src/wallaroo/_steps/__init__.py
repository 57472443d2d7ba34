"""Steps that users write: their functions and classes, checked when the application is built, and the decorators."""

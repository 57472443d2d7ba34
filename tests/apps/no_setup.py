"""Has no ``application_setup``."""

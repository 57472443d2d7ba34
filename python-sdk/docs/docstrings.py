"""Makes docstrings readable for mkdocstrings, which takes them for Markdown.

Roles such as ``:func:`` become code, and the section ``Example:`` becomes ``Examples:``, which is shown as code.
"""

import re

from griffe import Extension, Object

_ROLE = re.compile(r":(?:class|data|func|meth|mod):`([^`]+)`")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class Docstrings(Extension):
    """An extension of griffe."""

    def on_instance(self, *, obj: Object, **_: object) -> None:
        """Change the docstring of an object once it is found."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub("Examples:", _ROLE.sub(r"`\1`", obj.docstring.value))

"""What :class:`ApplicationBuilder` is given for a step: a class, an object or a decorated function."""

from __future__ import annotations

from typing import Any, Callable

from wallaroo._codec.key_tags import tagged, untagged
from wallaroo._codec.keys import PLAIN_KEY_TYPES, key_problem
from wallaroo._errors import WallarooParameterError
from wallaroo._steps.computations import check_state_class
from wallaroo._steps.decorated import Decorated
from wallaroo._steps.key_functions import KeyExtractor
from wallaroo._steps.objects import as_list, as_object, class_name, method, optional_method, qualified_name, step_name


def key_function(where: str, thing: Any) -> tuple[Callable[[Any], Any], str]:
    """Return a partition function's function and name.

    Raises:
        WallarooParameterError: It is none.
    """
    if isinstance(thing, KeyExtractor):
        return thing.function, thing.name
    function = as_object(where, thing, "@wallaroo.partition")
    return method(where, function, "partition", "data"), step_name(where, function)


def state_builder(where: str, thing: Any) -> tuple[Callable[[], Any], str]:
    """Return the ``build`` of a state builder, and the name of its class.

    Raises:
        WallarooParameterError: It is none.
    """
    builder = as_object(where, thing, None)
    return method(where, builder, "build"), qualified_name(type(builder))


def state_class(where: str, thing: Any) -> tuple[Callable[[], Any], str]:
    """Return what makes the state of a decorated computation, and its name: a class, or a state builder as before it.

    Raises:
        WallarooParameterError: It is neither.
    """
    if getattr(thing, "build", None) is not None:
        return state_builder(where, thing)
    check_state_class(where, thing)
    return thing, qualified_name(thing)


def compute_method(where: str, computation: Any, *parameters: str) -> tuple[Callable[..., Any], bool]:
    """Return the method of a computation's object, and whether it returns any number of outputs.

    Raises:
        WallarooParameterError: It has none.
    """
    multi = optional_method(where, computation, "compute_multi", *parameters)
    if multi is not None:
        return multi, True
    single = optional_method(where, computation, "compute", *parameters)
    if single is not None:
        return single, False
    if isinstance(computation, Decorated):
        raise WallarooParameterError(
            f"{where}: {class_name(computation)} is decorated for another place, as {type(computation).__name__}",
            hint=f"decorate it with @wallaroo.{'state_computation' if 'state' in parameters else 'computation'}",
        )
    signature = ", ".join(("self", *parameters))
    raise WallarooParameterError(
        f"{where}: {class_name(computation)} has no method compute or compute_multi",
        hint=f"define compute({signature}) or compute_multi({signature}) in class {class_name(computation)}",
    )


def check_keys(where: str, partition_keys: Any) -> tuple[Any, ...] | None:
    """Return a list of keys as a tuple, as they are sent; ``None`` when it is empty.

    Raises:
        WallarooParameterError: It is no list of keys, or one is there twice.
    """
    keys = as_list(f"{where}: partition_keys", partition_keys)
    for index, key in enumerate(keys):
        problem = key_problem(key)
        if problem is not None:
            raise WallarooParameterError(
                f"{where}: partition_keys[{index}]: {problem}", hint=f"a key is {PLAIN_KEY_TYPES}"
            )
        # Only a tuple that looks like a tagged key is changed.
        keys[index] = tagged(key)
    seen = set()
    for index, key in enumerate(keys):
        if key in seen:
            raise WallarooParameterError(
                f"{where}: partition_keys[{index}]: {untagged(key)!r} is in the list twice", hint="give each key once"
            )
        seen.add(key)
    return tuple(keys) or None

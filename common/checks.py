"""Dataclasses and constructors whose types say which values they take, checked by pydantic, with errors in one
sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from inspect import signature
from itertools import groupby
from typing import Annotated, Any, TypeVar, cast

from pydantic import ConfigDict, Field, ValidationError, validate_call
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
# 1 is a float; True and "1" are no numbers.
CONFIG = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def checked_dataclass(prefix: str = "", frozen: bool = True) -> Callable[[type[T]], type[T]]:
    """A pydantic dataclass, such as `steps: int = Field(ge=1)`, whose constructor raises `readable` errors.

    Args:
        prefix: of the options' names in messages, such as `loop.`.
        frozen: as of any dataclass.
    """

    def decorate(cls: type[T]) -> type[T]:
        checked: Any = dataclass(config=CONFIG, frozen=frozen)(cls)
        construct = checked.__init__

        @wraps(construct)
        def checked_construct(self: T, *args: Any, **options: Any) -> None:
            named = dict(zip(checked.__pydantic_fields__, args, strict=False))  # so that errors name the options
            try:
                construct(self, *args[len(named) :], **named, **options)
            except ValidationError as error:
                raise readable(error, prefix) from error

        checked.__init__ = checked_construct
        return checked

    return decorate


def checked_options(prefix: str = "") -> Callable[[Function], Function]:
    """A function, such as a module's `__init__`, whose arguments must have their types, such as `steps: PositiveInt`.

    Others raise `readable` errors.

    Args:
        prefix: of the options' names in messages, such as `loop.`.
    """

    def decorate(function: Function) -> Function:
        config: ConfigDict = {**CONFIG, "arbitrary_types_allowed": True}
        validated: Any = validate_call(config=config)(function)

        @wraps(function)
        def checked(*args: Any, **options: Any) -> Any:
            by_name = signature(function).bind_partial(*args).arguments  # pydantic's errors count arguments by position
            itself = [by_name.pop("self")] if "self" in by_name else []  # pydantic before 2.12 takes no `self` by name
            try:
                return validated(*itself, **by_name, **options)
            except ValidationError as error:
                raise readable(error, prefix) from error

        return cast(Function, checked)

    return decorate


def readable(error: ValidationError, prefix: str = "") -> ValueError:
    """An error of pydantic in one sentence, which names each option, its value and what it must be.

    Args:
        prefix: of the options' names.
    """
    sentences = []
    # Errors of one value are those of its alternatives, such as a number or "auto", whose names follow the option's.
    for (option, value), group in groupby(error.errors(), lambda entry: (entry["loc"][:1], repr(entry["input"]))):
        entries = list(group)
        name = prefix + ".".join(map(str, entries[0]["loc"] if len(entries) == 1 else option))
        rules = " or ".join(dict.fromkeys(re.sub(r"^\w+ should ", "", entry["msg"]) for entry in entries))
        if entries[0]["type"] in ("missing", "missing_argument"):
            sentences.append(f"{name} is missing")
        elif entries[0]["type"] == "unexpected_keyword_argument":
            sentences.append(f"there is no option {name}={value}")
        elif entries[0]["type"] == "value_error":  # of a validator of ours
            rule = rules.removeprefix("Value error, ")
            sentences.append(f"{name}={value} {rule}" if option else rule)
        else:
            sentences.append(f"{name}={value} must {rules.replace(' or be ', ' or ')}")
    return ValueError("; ".join(sentences))

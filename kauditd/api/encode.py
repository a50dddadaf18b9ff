"""Values to JSON, by one rule for every dataclass.

Fields keep their names and their order. Times stay what the field says they are: Unix seconds as a number in a
field whose name ends in ``_unix_s`` (``jq todate`` makes text of them); no time appears twice in two spellings, and
only the rendered text speaks of UTC. Enums are their value, mappings are objects with sorted keys, a number that
JSON cannot write (NaN, infinity) is null, and text that is not valid Unicode (a command line may be anything) has
the offending bytes escaped.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def encode(value: object) -> Json:
    """The JSON value of a dataclass, a collection or a plain value. TypeError for anything else: a bug of ours."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case tuple() | list():
            return [encode(item) for item in value]
        case Mapping():
            return {str(encode(str(key))): encode(value[key]) for key in sorted(value)}
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
        case _:
            raise TypeError(f"cannot encode {type(value).__name__}: not a value of the API")


def dump(value: Json) -> bytes:
    """One line of compact JSON in UTF-8, with a newline at its end."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8") + b"\n"

"""The OpenAPI 3.1 document, written from the route table and from the annotations of the dataclasses.

``python -m kauditd.api.openapi`` prints it; ``openapi.json`` beside this module is that output, and a test holds the
two together. OpenAPI 3.1 schemas are JSON Schema 2020-12, so "or null" is a list of types.
"""

import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum

from kauditd._version import VERSION
from kauditd.api.encode import Json
from kauditd.api.envelope import EXIT_HEADER
from kauditd.api.inbound import Choice, Count, Seconds, Text
from kauditd.api.limits import Limits
from kauditd.api.metrics import CONTENT_TYPE
from kauditd.api.table import Access, Row, build_table
from kauditd.errors import KINDS

Schema = dict[str, Json]

_PLAIN: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_ERROR_STATUSES = {
    "400": "The request is malformed, unknown or out of bounds.",
    "403": "The caller may not do this, or may not ask at all.",
    "503": "Too many connections or waits, or the work takes longer than a request may.",
}
_WRITE_STATUSES = {"409": "The engine refuses for now; the message says why.", "413": "The body is too large."}


def document(limits: Limits | None = None) -> Schema:
    """The whole document."""
    bounds = limits or Limits()
    schemas: dict[str, Json] = {"Error": _error_schema()}
    paths: dict[str, Json] = {}
    for row in build_table(wait_s=bounds.wait_s):
        operations = paths.setdefault(row.path, {})
        if isinstance(operations, dict):
            operations[row.method.lower()] = _operation(row, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kauditd",
            "version": VERSION,
            "summary": "State and control of the API server's audit trail on one node",
            "description": (
                "HTTP/1.1 on a Unix socket, one request per connection. The kernel's peer credentials decide: root "
                "may do everything, members of the group may read, nobody else gets an answer but 403. Bounds: body "
                f"{bounds.body_bytes} bytes, {bounds.request_s:g} s for a whole request (long polls excepted), "
                f"{bounds.connections} connections, no chunked bodies. Fields that end in _unix_s are Unix seconds."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://kauditd", "description": "The Unix socket /run/kauditd/kauditd.sock"}],
        "paths": paths,
        "components": {"schemas": {name: schemas[name] for name in sorted(schemas)}},
    }


def schema_of(kind: object, schemas: dict[str, Json]) -> Schema:
    """The schema of an annotation. Dataclasses and enums are put into ``schemas`` and referred to by name."""
    if isinstance(kind, typing.NewType):
        return schema_of(kind.__supertype__, schemas)
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        schemas.setdefault(kind.__name__, {"type": "string", "enum": [member.value for member in kind]})
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    if isinstance(kind, type) and is_dataclass(kind):
        _add_dataclass(kind, schemas)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    return _composed(kind, schemas)


def _composed(kind: object, schemas: dict[str, Json]) -> Schema:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        return _union([schema_of(argument, schemas) for argument in arguments])
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return {"type": "array", "items": schema_of(arguments[0], schemas)}
    if origin in {Mapping, dict}:
        return {"type": "object", "additionalProperties": schema_of(arguments[1], schemas)}
    raise TypeError(f"cannot describe {kind!r}: not a type of the API")


def _union(parts: list[Schema]) -> Schema:
    """Plain types become one list of types; an integer next to a number says nothing more and is left out."""
    names = [part["type"] for part in parts if set(part) == {"type"}]
    if len(names) < len(parts):
        return {"anyOf": [*parts]}
    if "number" in names and "integer" in names:
        names.remove("integer")
    return {"type": names}


def _add_dataclass(kind: type, schemas: dict[str, Json]) -> None:
    if kind.__name__ in schemas:
        return
    schemas[kind.__name__] = {}  # holds the name while a field may refer back to it
    hints = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else []
    schema: Schema = {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split()).partition(". ")[0].rstrip(".") + ".",
        "properties": {name: schema_of(hints[name], schemas) for name in names},
        "required": [*names],
    }
    schemas[kind.__name__] = schema


def _operation(row: Row, schemas: dict[str, Json]) -> Schema:
    statuses = _ERROR_STATUSES | (_WRITE_STATUSES if row.access is Access.WRITE else {})
    if "{id}" in row.path:
        statuses["404"] = f"No {_noun(row)} has this id."
    responses: dict[str, Json] = {code: _error_response(text) for code, text in sorted(statuses.items())}
    responses.update({str(code): _success(row, schemas, code=code) for code in row.statuses})
    operation: Schema = {
        "operationId": _operation_id(row),
        "summary": row.summary,
        "description": f"Access: {row.access.value}.",
        "parameters": [*_parameters(row)],
        "responses": {code: responses[code] for code in sorted(responses)},
    }
    if row.body:
        operation["requestBody"] = {"required": False, "content": {"application/json": {"schema": _body(row.body)}}}
    return operation


def _noun(row: Row) -> str:
    """What the id in a path names: ``change`` for ``/v1/changes/{id}``."""
    return row.path.removeprefix("/v1/").partition("/")[0].removesuffix("s")


def _operation_id(row: Row) -> str:
    words = row.path.removeprefix("/v1").replace("{id}", "by-id").strip("/").replace("/", "-")
    return f"{row.method.lower()}-{words}"


def _parameters(row: Row) -> Iterator[Schema]:
    if "{id}" in row.path:
        schema: Schema = {"type": "integer", "minimum": 0}
        yield {
            "name": "id",
            "in": "path",
            "required": True,
            "description": f"Number of the {_noun(row)}.",
            "schema": schema,
        }
    for parameter in row.query:
        yield {"name": parameter.name, "in": "query", "description": parameter.text, "schema": _bounds(parameter)}


def _bounds(parameter: Count | Choice) -> Schema:
    match parameter:
        case Count():
            return {
                "type": "integer",
                "minimum": parameter.minimum,
                "maximum": parameter.maximum,
                "default": parameter.default,
            }
        case Choice():
            return {"type": "string", "enum": [*parameter.words], "default": parameter.default}
        case _:
            typing.assert_never(parameter)


def _body(keys: tuple[Seconds | Text, ...]) -> Schema:
    properties: dict[str, Json] = {key.name: {"description": key.text, **_value(key)} for key in keys}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _value(key: Seconds | Text) -> Schema:
    match key:
        case Seconds():
            return {"type": ["number", "null"], "minimum": key.minimum, "maximum": key.maximum}
        case Text():
            return {"type": ["string", "null"], "maxLength": key.limit}
        case _:
            typing.assert_never(key)


def _success(row: Row, schemas: dict[str, Json], *, code: int) -> Schema:
    content: dict[str, Json] = {}
    if row.result is not None:
        envelope = _envelope("sync", schema_of(row.result, schemas), status={"type": "integer", "const": code})
        content["application/json"] = {"schema": envelope}
    if row.text_type:
        media = CONTENT_TYPE if row.result is None else row.text_type
        content[media] = {"schema": {"type": "string"}}
    header: Schema = {"description": "What a command should exit with.", "schema": {"type": "integer", "enum": [0, 1]}}
    return {"description": row.summary + ".", "headers": {EXIT_HEADER: header}, "content": content}


def _error_response(text: str) -> Schema:
    schema: Schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _error_schema() -> Schema:
    result: Schema = {
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": [*KINDS]},
            "message": {"type": "string"},
            "hint": {"type": "string"},
        },
        "required": ["kind", "message", "hint"],
    }
    return _envelope("error", result, status={"type": "integer", "minimum": 400, "maximum": 599})


def _envelope(kind: str, result: Schema, *, status: Schema) -> Schema:
    properties: Schema = {
        "type": {"type": "string", "const": kind},
        "status": status,
        "version": {"type": "string"},
        "result": result,
    }
    return {"type": "object", "properties": properties, "required": [*properties]}


def text() -> str:
    """The document as it is committed: two spaces of indent, keys in the order of this module, a newline at the end."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())

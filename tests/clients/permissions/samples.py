"""Bodies that fit what openapi.json says of an operation, so that new operations are asked rightly by themselves."""

import json

from oracle import ACTIONS  # noqa: F401  the deeds that can be asked about

# Where any text of the type would be refused: values that mean something.
KNOWN = {"privileges": ["read"], "name": "thing", "version": "v1", "access": "keys", "password": "a password for it"}


def text(value):
    return json.dumps(value)


def value(document, schema, name=""):
    """A value of a schema."""
    if "$ref" in schema:
        return value(document, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], name)
    for choice in schema.get("oneOf", schema.get("anyOf", [])):
        if choice.get("type") != "null":
            return value(document, choice, name)
    if name in KNOWN:
        return KNOWN[name]
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type", "object")
    kind = next(kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null")
    if kind == "object":
        return {key: value(document, of, key) for key, of in schema.get("properties", {}).items()}
    if kind == "array":
        return [value(document, schema.get("items", {}), "")]
    if kind == "boolean":
        return False
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"uuid": "00000000-0000-4000-8000-000000000007", "date-time": "2040-01-01T00:00:00Z"}.get(schema.get("format"), "text")


def of(document, operation):
    """The bodies of an operation: with every field, and with those only that it must have."""
    method, path = operation.split(" ")
    content = document["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    if schema is None:
        return
    whole = value(document, schema)
    required = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]].get("required", []) if "$ref" in schema else []
    yield text(whole).encode()
    yield text({key: whole[key] for key in required}).encode()

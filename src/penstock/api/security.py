"""How the OpenAPI document tells of keys."""

from typing import Any

from fastapi import FastAPI

from penstock.api.entrance import Entrance
from penstock.api.roles import is_open

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same"},
}
_EITHER: list[dict[str, list[str]]] = [{"bearer": []}, {"api_key": []}]


def describe(app: FastAPI, entrance: Entrance) -> None:
    """Have the document say that keys are needed; while they are not, that they may be sent."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        document.setdefault("components", {})["securitySchemes"] = _SCHEMES
        document["security"] = _EITHER if entrance.asks_for_keys else [{}, *_EITHER]
        for path, methods in document["paths"].items():
            if is_open(path):
                for operation in methods.values():
                    operation["security"] = []
        return document

    app.openapi = openapi  # type: ignore[method-assign]

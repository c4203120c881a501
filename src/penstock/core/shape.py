"""How a function wants to be called: the model of its parameters, read once from its signature."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model
from pydantic.errors import PydanticSchemaGenerationError

from penstock.core.progress import Progress


class Shape:
    """``model`` holds the parameters, ``returns`` annotates the result, ``progress`` names an argument."""

    def __init__(self, model: type[BaseModel], returns: Any, whole: str | None, progress: str | None) -> None:
        self.model = model
        self.returns = returns
        self.progress = progress
        self._whole = whole

    @classmethod
    def of(cls, function: Callable[..., Any], name: str) -> "Shape":
        """Raises TypeError for a signature that JSON cannot fill."""
        signature = inspect.signature(function, eval_str=True)
        progress = None
        fields: dict[str, Any] = {}
        for parameter in signature.parameters.values():
            if parameter.annotation is parameter.empty:
                raise TypeError(f"task {name}: parameter {parameter.name!r} needs a type annotation")
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise TypeError(f"task {name}: parameter {parameter.name!r} must be a named parameter")
            if parameter.annotation is Progress:
                progress = parameter.name
            else:
                default = ... if parameter.default is parameter.empty else parameter.default
                _check_json(name, f"parameter {parameter.name!r}", parameter.annotation)
                fields[parameter.name] = (parameter.annotation, default)
        if signature.return_annotation is signature.empty:
            raise TypeError(f"task {name}: the result needs a type annotation (-> type)")
        _check_json(name, "the result", signature.return_annotation)
        if len(fields) == 1:
            ((only, (annotation, default)),) = fields.items()
            if default is ... and inspect.isclass(annotation) and issubclass(annotation, BaseModel):
                return cls(annotation, signature.return_annotation, only, progress)
        title = "".join(word.capitalize() for word in name.split("_"))
        model = create_model(f"{title}Params", __config__=ConfigDict(extra="forbid"), **fields)
        return cls(model, signature.return_annotation, None, progress)

    def names(self) -> frozenset[str]:
        """Those of the arguments that come from the parameters."""
        return frozenset(self.model.model_fields if self._whole is None else (self._whole,))

    def arguments(self, model: BaseModel) -> Mapping[str, Any]:
        """The arguments that these parameters are."""
        # The fields of a model made from a signature are the arguments, under the same names.
        return vars(model) if self._whole is None else {self._whole: model}

    def of_call(self, arguments: Mapping[str, Any]) -> BaseModel:
        """The parameters in the arguments of a call; they are taken as they are."""
        if self._whole is not None:
            whole: BaseModel = arguments[self._whole]
            return whole
        return self.model.model_construct(**{name: arguments[name] for name in self.names()})

    def signature(self, function: Callable[..., Any]) -> inspect.Signature:
        """How the function is called by somebody who has no `Progress`."""
        whole = inspect.signature(function)
        named = [each for each in whole.parameters.values() if each.name != self.progress]
        return whole.replace(parameters=named)

    def given(self, arguments: dict[str, Any]) -> Any:
        """The parameters in the arguments of a call, not looked at yet."""
        return arguments if self._whole is None else arguments[self._whole]

    def call(self, function: Callable[..., Any], model: BaseModel, progress: Progress | None) -> Any:
        """Call a function of this shape."""
        arguments = self.arguments(model)
        if self.progress is None:
            return function(**arguments)
        return function(**arguments, **{self.progress: progress})


def _check_json(task: str, what: str, annotation: Any) -> None:
    """Raises TypeError for a type that JSON has no form of, such as an array."""
    try:
        TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        kind = getattr(annotation, "__name__", annotation)
        advice = "annotate what it holds, such as list[float], and convert inside the function"
        raise TypeError(
            f"task {task}: {what} cannot be a {kind}, which JSON does not have; {advice}"
        ) from None

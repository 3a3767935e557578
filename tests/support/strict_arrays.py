"""numpy as strict as CuPy: arrays of the device do not mix with the host's, and only the stated functions exist."""

import inspect
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.device import arrays as module
from scanside.runtime.device.arrays import HostArrays

STATED = set(re.findall(r"`(\w+)`", (inspect.getdoc(module) or "").split("arrays'")[0]))


class OnDevice(np.ndarray):
    """An array that refuses to meet one of the host, as CuPy's do."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        out = options.get("out", ())
        for given in (*inputs, *out):
            if isinstance(given, np.ndarray) and not isinstance(given, OnDevice):
                raise TypeError(f"{ufunc.__name__} of a device's and a host's array")
        if out:
            options["out"] = tuple(np.asarray(one) for one in out)
        result = getattr(ufunc, method)(*(_plain(given) for given in inputs), **options)
        return out[0] if out else _on(result)

    def __array_function__(self, function: Any, types: Any, given: Any, options: Any) -> Any:
        if any(issubclass(kind, np.ndarray) and not issubclass(kind, OnDevice) for kind in types):
            raise TypeError(f"{function.__name__} of a device's and a host's array")
        return _on(super().__array_function__(function, types, given, options))

    def __setitem__(self, where: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and not isinstance(value, OnDevice):
            raise TypeError("a host's array written into a device's")
        super().__setitem__(where, value)


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, OnDevice) else value


def _on(value: Any) -> Any:
    """Everything that a device computes stays on it, single values too."""
    return np.asarray(value).view(OnDevice) if isinstance(value, np.ndarray | np.generic) else value


class Stated:
    """numpy's functions that the code of the device may use."""

    float64 = np.float64

    def __getattr__(self, name: str) -> Any:
        if name not in STATED:
            raise AttributeError(f"{name} is not among the functions that device/arrays.py states")
        return lambda *given, **options: _on(getattr(np, name)(*given, **options))


class StrictArrays(HostArrays):
    """A device of host memory whose arrays are `OnDevice`; counts what crosses the bus."""

    def __init__(self, free: int | None = None) -> None:
        super().__init__(free)
        self.xp = Stated()
        self.up = self.down = 0

    def upload(self, values: npt.NDArray[Any]) -> Any:
        assert not isinstance(values, OnDevice)
        self.up += values.nbytes
        return super().upload(values).view(OnDevice)

    def download(self, values: Any) -> npt.NDArray[Any]:
        assert isinstance(values, OnDevice)
        self.down += values.nbytes
        return super().download(values.view(np.ndarray))

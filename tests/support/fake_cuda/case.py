"""Run in a process of its own, with LD_LIBRARY_PATH at `fake_cuda.build` and onnxruntime-gpu first on PYTHONPATH.

    case.py measure NETWORK FOLDS Z Y X      a case with so many folds: what was stated, taken, copied, given back
    case.py faults NETWORK                   every CUDA call of a case made to fail, one after the other
    case.py scanside ARGUMENTS…              the command line, with this card in it

The arrays around the network are numpy's, in the card's memory where they last; CuPy needs kernels that compute.
"""

import contextlib
import ctypes
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scanside.runtime.backends import cuda
from scanside.runtime.backends.guard import Guarded
from scanside.runtime.device import gpu_arrays
from scanside.runtime.device.arrays import HostArrays, address
from scanside.runtime.device.case import How, Labelled, label_case
from scanside.runtime.errors import BackendError, DeviceMemoryError
from scanside.runtime.plan import Plan
from scanside.runtime.stages.crop import crop
from tests.support.phantoms import volume
from tests.support.plans import labels, plan

card = ctypes.CDLL("libcudart.so.13")
for _name in ("fake_used", "fake_peak", "fake_copied"):
    getattr(card, _name).restype = ctypes.c_size_t
card.fake_name.restype = ctypes.c_char_p
TO_DEVICE, TO_HOST = 1, 2


class _Block:
    """Bytes of the card, freed with the last array in them."""

    def __init__(self, size: int) -> None:
        at = ctypes.c_void_p()
        if card.cudaMalloc(ctypes.byref(at), ctypes.c_size_t(size)):
            raise MemoryError
        self.at = at.value or 0
        self.__array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (self.at, False),
            "version": 3,
        }

    def __del__(self) -> None:
        if "at" in vars(self):
            card.cudaFree(ctypes.c_void_p(self.at))


class _OnCard:
    """numpy, but that what is made anew lies on the card."""

    def empty(self, shape: tuple[int, ...], kind: str) -> Any:
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        return np.asarray(_Block(max(size, 1)))[:size].view(kind).reshape(shape)

    zeros = empty  # fresh memory of the card is zero

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


class CardArrays(HostArrays):
    """See `device.arrays.Arrays`."""

    def __init__(self) -> None:
        super().__init__()
        self.xp = _OnCard()

    def free(self) -> int | None:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        if card.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)):
            raise BackendError("The GPU does not say what is free.")
        return int(0.9 * free.value)

    def block(self, size: int) -> tuple[int, object]:
        made = _Block(size)
        return made.at, made

    def upload(self, values: Any) -> Any:
        given = np.ascontiguousarray(values)
        made = self.xp.empty(given.shape, given.dtype.str)
        self._copy(address(made), address(given), given.nbytes, TO_DEVICE)
        return made

    def download(self, values: Any) -> Any:
        given = np.ascontiguousarray(values)
        made = np.empty_like(given)
        self._copy(address(made), address(given), given.nbytes, TO_HOST)
        return made

    def _copy(self, to: int, source: int, size: int, kind: int) -> None:
        if card.cudaMemcpy(ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(size), kind):
            raise BackendError("A copy failed on the GPU.")


arrays = CardArrays()
gpu_arrays.gpu_arrays = lambda: arrays  # type: ignore[assignment, return-value]
gpu_arrays.missing = lambda: None


def _recipe(spec: Any) -> Plan:
    mirrored = tuple(range(len(spec.input_shape) - 1))
    return plan(patch_size=spec.input_shape[1:], labels=labels(spec.heads), mirror_axes=mirrored)


def _case(network: bytes, folds: int, shape: tuple[int, int, int], seen: dict[str, Any]) -> Labelled | None:
    opened: list[Any] = []
    try:
        for _ in range(folds):
            opened.append(Guarded(cuda.open_session(network, seen["precision"])))
            opened[-1]._looked = True  # nothing is computed here: a constant is what there is to see
        device = cuda.on_device(opened)
        seen["weights"] = card.fake_used()
        card.fake_reset_peak()
        card.fake_reset_copied()
        launches, runs = card.fake_launches(), []
        networks = [lambda *given, run=run: (runs.append(1), run(*given)) for run in device.networks]
        device = type(device)(device.arrays, networks, device.network_bytes, device.most)
        recipe = _recipe(opened[0].spec)
        given = volume(shape, (1.0, 1.0, 1.0), border=0)
        how = How(0.5, True, lambda name: contextlib.nullcontext(), lambda done, total: None)
        found = label_case(crop(given, recipe), recipe, device, how)
        seen |= {"peak": card.fake_peak(), "after": card.fake_used(), "runs": len(runs)}
        seen |= {
            "up": card.fake_copied(TO_DEVICE),
            "down": card.fake_copied(TO_HOST),
            "image": given.data.nbytes,
        }
        seen["launches"] = card.fake_launches() - launches
        return found
    finally:
        for session in opened:
            session.close()


def measure(network: Path, folds: int, shape: tuple[int, int, int]) -> dict[str, Any]:
    seen: dict[str, Any] = {"precision": "mixed" if "mixed" in network.name else "fp32"}
    try:
        found = _case(network.read_bytes(), folds, shape, seen)
    except DeviceMemoryError as error:
        return {**seen, "error": str(error)}
    seen["closed"] = card.fake_used()
    if found is None:
        return {**seen, "fits": False}
    need = found.need
    stated = {"total": need.total, "network": need.network, "batch": need.batch, "depth": need.depth}
    return {**seen, **stated, "fits": True, "labels": found.labels.nbytes}


def _calls() -> Iterator[tuple[str, int]]:
    index = 0
    while (name := card.fake_name(index)) is not None:
        if card.fake_count(index):
            yield name.decode(), card.fake_count(index)
        index += 1


def faults(network: Path) -> dict[str, str]:
    """What each call leads to that fails from its last third on."""
    content, shape = network.read_bytes(), (20, 70, 80)
    _case(content, 1, shape, {"precision": "mixed"})  # what happens once a process
    card.fake_forget()
    _case(content, 1, shape, {"precision": "mixed"})
    ends = {}
    for name, count in list(_calls()):
        card.fake_forget()
        card.fake_fail(name.encode(), max(1, count * 2 // 3), 2 if name == "cudaMalloc" else 719)
        try:
            ends[name] = "labels" if _case(content, 1, shape, {"precision": "mixed"}) else "host"
        except BackendError as error:
            ends[name] = f"{error.exit_code}: {error}"
        except Exception as error:
            ends[name] = f"{type(error).__name__}: {error}"
        card.fake_fail(b"", 0, 0)
    return ends


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "scanside":
        from scanside.runtime.cli.main import main

        sys.argv = ["scanside", *words]
        main()
    elif what == "measure":
        z, y, x = map(int, words[2:])
        print(json.dumps(measure(Path(words[0]), int(words[1]), (z, y, x))))
    else:
        print(json.dumps(faults(Path(words[0]))))

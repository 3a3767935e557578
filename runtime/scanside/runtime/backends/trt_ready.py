"""Whether a TensorRT that is installed works here: loaded for real, the driver compared, memory allocated."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from scanside.runtime.backends import gpu, nvidia_files, trt_build
from scanside.runtime.backends.quiet import captured
from scanside.runtime.extras import package_command

_MAJORS = (11, 12, 13, 14)
_A_LITTLE = 1 << 20
_OWN = ("libnvinfer", "libnvonnxparser", "libtensorrt")
_AGAIN = (
    "install {0} again, its libraries are not there (pip install --force-reinstall {0}; on a Jetson: "
    "apt install --reinstall python3-libnvinfer)"
)


@cache
def trial(flavour: str) -> tuple[str, str] | None:
    """What a library that is installed lacks to work here and how to mend it, or None. Asked once a process."""
    old, cause = None, ""
    with captured() as said:
        try:
            old = _too_old(flavour)
            if old is None:
                trt_build.library(flavour)
                _allocate()
        except Exception as error:  # BackendError, or what the loader and cuda-python raise
            cause = str(error)
    if not cause:
        return old
    file = nvidia_files.missing_in(f"{cause}\n{said.text}")
    if file is not None:
        mend = (
            _AGAIN.format(flavour)
            if file.startswith(_OWN)
            else nvidia_files.command_for(file, _packages(flavour) or 13, "cuda-bindings")
        )
        return f"{flavour} does not load: {file} is missing", mend
    words = " ".join(cause.split())[:300].rstrip(".")
    return f"{flavour} does not work on this GPU ({words})", "restart the machine, or use another device"


def _too_old(flavour: str) -> tuple[str, str] | None:
    """Whether the driver is older than the CUDA of the library or of cuda-python."""
    major = _packages(flavour)
    problem = gpu.too_old(major, f"the {flavour} that is installed") if major else None
    if problem is not None:
        return problem
    try:
        bindings = version("cuda-bindings")
    except PackageNotFoundError:
        return None
    problem = gpu.too_old(int(bindings.partition(".")[0]), f"cuda-bindings {bindings}")
    if problem is None:
        return None
    here = gpu.gpu().cuda.partition(".")[0]
    return problem[0], f"{problem[1]}, or {package_command(f'cuda-bindings=={here}.*')}"


def _packages(flavour: str) -> int | None:
    """CUDA version in the name of the library's wheels; None for one that did not come as a wheel (JetPack)."""
    for major in _MAJORS:
        try:
            version(f"{flavour}-cu{major}-libs")
        except PackageNotFoundError:
            continue
        return major
    return None


def _allocate() -> None:
    """Raises RuntimeError naming CUDA's own error."""
    import cuda.bindings.runtime as cuda

    code, pointer = cuda.cudaMalloc(_A_LITTLE)
    if code != cuda.cudaError_t.cudaSuccess:
        raise RuntimeError(f"cudaMalloc fails with {code.name}")
    cuda.cudaFree(pointer)

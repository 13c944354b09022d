"""What of TensorRT's Python module our code uses, and whether a release of the real one has it. Nothing of it runs.

The bindings are plain wheels; the libraries behind them are not. Over empty libraries with the nine functions that they
are linked against the real classes load, without a GPU; where there is no C compiler or no wheel for this Python, the
names are looked for in the shared object itself.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from edgeresnet import targets

FILES = ("_nvinfer.py", "_nvsession.py")
# By the names that they have in these files.
CLASSES = {
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "image": "ITensor",
    "cache": "ITimingCache",
    "inspector": "EngineInspector",
    "context": "IExecutionContext",
    "network": "INetworkDefinition",
    "_builder": "Builder",
    "_network": "INetworkDefinition",
    "_parser": "OnnxParser",
    "_runtime": "Runtime",
    "_engine": "ICudaEngine",
    "error": "ParserError",
    "severities": "ILogger.Severity",
}
OTHERS = {("image", "array"), ("image", "to_device"), ("image", "free"), ("image", "device")}  # a tensor of _cuda's
# TensorRT-RTX's alone: used where its ComputeCapability was found.
BEHIND_A_TEST = {"IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability"}
_STUBS = {
    "nvinfer": [
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ],
    "nvinfer_plugin": ["initLibNvInferPlugins"],
    "nvonnxparser": ["createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"],
}


def used() -> set[str]:
    """Dotted names: "BuilderFlag.TF32", "IBuilderConfig.set_flag"."""
    folder = Path(targets.__file__).parent
    return {name for file in FILES for name in used_in((folder / file).read_text())} - BEHIND_A_TEST


def used_in(text: str) -> Iterator[str]:
    """Leave out names that `getattr` looks up with a default: a release may lack them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            *way, last = _chain(node)
            if way and way[0] in ("trt", "_trt"):
                yield ".".join([*way[1:], last])
            elif way and way[-1] in CLASSES and (way[-1], last) not in OTHERS:
                yield f"{CLASSES[way[-1]]}.{last}"


def _chain(node: ast.expr) -> list[str]:
    """Return `self._trt.A.B` as ["_trt", "A", "B"]; what is not a chain of names begins with an empty word."""
    if isinstance(node, ast.Attribute):
        before = _chain(node.value)
        return [*(before if before != ["self"] else []), node.attr]
    return [node.id] if isinstance(node, ast.Name) else [""]


class Bindings:
    """One release's module, unpacked; `missing` lists the names that it lacks."""

    def __init__(self, package: str, release: str, folder: Path):
        self.release, self._folder = release, folder
        self.loads = _fetch(package, release, folder) and shutil.which("cc") is not None

    def missing(self, names: set[str]) -> list[str]:
        if not self.loads:
            data = next((self._folder / "tensorrt_bindings").glob("tensorrt*.so")).read_bytes()
            return sorted(name for name in names if f"{name.split('.')[-1]}\0".encode() not in data)
        for library, functions in _STUBS.items():
            self._stub(library, functions)
        code = (
            "import json, operator, sys; import tensorrt_bindings as trt\n"
            "def has(name):\n"
            "    try: operator.attrgetter(name)(trt)\n"
            "    except AttributeError: return False\n"
            "    return True\n"
            "print(json.dumps([name for name in json.loads(sys.argv[1]) if not has(name)]))"
        )
        command = [sys.executable, "-c", code, json.dumps(sorted(names))]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=True)
        return list(json.loads(done.stdout.splitlines()[-1]))

    def _stub(self, library: str, functions: list[str]) -> None:
        """Write it next to the module, where its own search path finds it."""
        soname = f"lib{library}.so.{self.release.split('.')[0]}"
        text = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in functions)
        command = ["cc", "-shared", "-fPIC", "-xc", "-", f"-Wl,-soname,{soname}"]
        out = self._folder / "tensorrt_bindings" / soname
        subprocess.run([*command, "-o", str(out)], input=text.encode(), check=True)


def _fetch(package: str, release: str, folder: Path) -> bool:
    """Whether the wheel is one for this Python; else another's, whose names can still be read."""
    assert importlib.util.find_spec("pip")
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for version in (own, "3.12"):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", version, "--dest", str(folder), f"{package}=={release}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            zipfile.ZipFile(next(folder.glob("*.whl"))).extractall(folder)
            return version == own
    raise OSError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip printed nothing")

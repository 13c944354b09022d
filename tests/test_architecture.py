"""The house is tested like behaviour: who imports whom, what is light, what may travel to a device."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import edgeresnet
from edgeresnet import cli, report
from edgeresnet.devices import ssh
from edgeresnet.stages.table import STAGES
from edgeresnet.store import Store

from . import conftest
from .report import runs
from .report.test_report import run_document

pytestmark = pytest.mark.unit

PACKAGE = Path(edgeresnet.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# docs/architecture.md has the layers, from the top down: a file may import from its own folder and from layers below,
# never from a sibling or upwards. In `stages` every file is a folder of its own: no stage imports another.
DESIGN = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
LAYERS = [re.findall(r"`(\w+)`", row.split("|")[2]) for row in re.findall(r"^\| \d+ \|.*$", DESIGN, re.MULTILINE)]
ROOT = ("__init__.py",)
CARRIED = ("stages/export/contents.py", "stages/export/on_device.py", "stages/export/carried/")
# What planning and every stage may read: the list of stages and the types of what they read.
_TABLES = ("stages/__init__.py", "stages/table.py", "stages/specs.py", "stages/int8.py", "stages/candidates.py")
FLOOR = ("errors.py", "portable/", "targets/", "stages/__init__.py", "stages/export/__init__.py", *CARRIED)
RUNTIMES = {"targets/onnxruntime.py": {"onnxruntime"}, "targets/openvino.py": {"openvino"}}  # NVIDIA's come by name
# available() turns any failure into a reason, a timing process reports it to its parent, verify turns it into a target
# that was not measured, models into a fault of the user's code; the command line sorts what is left; the runner and the
# store clean up and raise again; tracking reports any failure of mlflow, its plug-ins and stores as one error; a worker
# carries what its work raised to the process that called; each cloud's file system has errors of its own.
MAY_CATCH_ALL = {
    "errors.py",
    "targets/_compiled.py",
    "models/__init__.py",
    "models/factories.py",
    "portable/evaluation.py",
    "portable/worker.py",
    "cli/__init__.py",
    "pipeline/runner.py",
    "shards/work.py",
    "store/__init__.py",
    "store/shared.py",
    "tracking.py",
}
HEAVY = conftest.HEAVY | {"onnx"}


def room_of(file: str) -> tuple[float, str] | None:
    """Return the layer of a file, counted from the top, and its room in it."""
    if file in ROOT:
        return len(LAYERS), "root"
    if file == "__main__.py":
        return 0, "cli"
    top = file.split("/")[0].removesuffix(".py")
    depth = next((depth for depth, rooms in enumerate(LAYERS) if top in rooms), None)
    if depth is None:
        return None
    if file in _TABLES:
        return depth + 0.5, "tables"
    return (depth, file.split("/")[1].removesuffix(".py") if top == "stages" else top)


def imported(file: str, tree: ast.AST | None = None) -> list[tuple[str, bool]]:
    """Every import as an absolute module name, and whether it runs when the file is imported."""
    tree = tree or ast.parse((PACKAGE / file).read_text())
    parts = ["edgeresnet", *file.removesuffix(".py").split("/")]
    package = parts[:-1]
    late = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    late |= {id(n) for n in _typing_only(tree)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in late) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names] if _is_package(module) else [module]
            found += [(name, id(node) not in late) for name in names]
    return found


def _typing_only(tree: ast.AST) -> list[ast.AST]:
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"]
    return [inner for block in blocks for inner in ast.walk(block)]


def _is_package(module: str) -> bool:
    return module.startswith("edgeresnet") and (PACKAGE.parent / module.replace(".", "/")).is_dir()


def _file_of(module: str) -> str | None:
    if module.split(".")[0] != "edgeresnet":
        return None
    inner = "/".join(module.split(".")[1:])
    for candidate in (f"{inner}.py", f"{inner}/__init__.py", "__init__.py" if not inner else ""):
        if candidate in FILES:
            return candidate
    # a name out of a package's __init__
    parent = "/".join(module.split(".")[1:-1])
    return f"{parent}/__init__.py" if f"{parent}/__init__.py" in FILES else "__init__.py"


def test_every_file_stands_in_a_layer_and_imports_downwards_only() -> None:
    assert [file for file in FILES if room_of(file) is None] == [], "these stand in no layer: place them in LAYERS"
    assert [problem for file in FILES for problem in _upwards(file, imported(file))] == []


def test_no_file_imports_itself_by_a_detour() -> None:
    """Imports form no circle: inside a folder, for types alone and inside functions as well."""
    needs = {file: {_file_of(module) for module, _ in imported(file)} - {file, None, "__init__.py"} for file in FILES}
    assert _circle(needs) == []


def _circle(needs: Mapping[str, set[Any]]) -> list[str]:
    """Return the files that are left when those that need none of the others, or that none needs, are taken away."""
    left = dict(needs)
    while True:
        needed = {other for others in left.values() for other in others}
        rest = {file: others for file, others in left.items() if others & left.keys() and file in needed}
        if len(rest) == len(left):
            return sorted(left)
        left = rest


def test_the_test_for_circles_can_fail() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == ["a", "b", "c"]


def test_the_design_lists_every_folder_and_no_other() -> None:
    listing = DESIGN.split("```\nedgeresnet/\n")[1].split("```")[0]
    listed = {line.split()[0].rstrip("/") for line in listing.splitlines() if re.match("  \\S", line)}
    there = {path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert listed == there - {"__init__.py", "__main__.py"}
    assert sorted(name.removesuffix(".py") for name in listed) == sorted(room for rooms in LAYERS for room in rooms)


def test_what_the_design_names_is_there() -> None:
    """Files by their paths, and `Name.attribute` by importing."""
    text = DESIGN.split("## The nouns")[1].split("## Rules")[0]
    for path in re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?|[a-z_]+\.py)`", text):
        assert (PACKAGE / path).exists() or (PACKAGE.parent / path).exists(), path
    for file, name, attribute in re.findall(r"`(\w+)\.(\w+)` in `([a-z_/]+\.py)`", text):
        source = (PACKAGE / attribute).read_text()
        assert re.search(rf"class {file}\b", source), (file, attribute)
        assert re.search(rf"def {name}\(", source), (name, attribute)


def _upwards(file: str, modules: list[tuple[str, bool]]) -> list[str]:
    here, found = room_of(file), []
    assert here is not None
    for module, at_import in modules:
        target = _file_of(module)
        if target is None or (here[1] == "root" and not at_import):  # it names what it hands on when it is asked
            continue
        there = room_of(target)
        assert there is not None
        if there != here and there[0] <= here[0]:
            found.append(f"{file} ({here[1]}) imports {module} ({there[1]}): not downwards")
    return found


def test_the_layer_test_can_fail() -> None:
    upwards = imported("portable/judging.py", ast.parse("from ..pipeline import run"))
    assert _upwards("portable/judging.py", upwards) == [
        "portable/judging.py (portable) imports edgeresnet.pipeline.run (pipeline): not downwards"
    ]
    assert room_of("nowhere.py") is None
    assert _manners("x.py", "import os\ntry:\n    pass\nexcept Exception:\n    pass\n" + "\n" * 400) == [
        "x.py does not say what it is for", "x.py is asking to be two", "x.py catches Exception",
    ]  # fmt: skip


def test_the_floor_needs_only_the_standard_library_and_numpy() -> None:
    for file in (file for file in FILES if file.startswith(FLOOR)):
        ast.parse((PACKAGE / file).read_text(), feature_version=(3, 10))
        for module, at_import in imported(file):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in {"numpy", "edgeresnet"}:
                continue
            assert top in RUNTIMES.get(file, set()), f"{file} needs {top}"
            assert not at_import, f"{file} imports its runtime {top} when it is imported: do it inside a function"


def test_what_is_sent_to_a_device_needs_an_old_python_and_nothing_else() -> None:
    """Python 3.6 reads it: it refuses itself there in words."""
    sent = [f"{name}.py" for name in ssh.SENT]
    assert {file for file in FILES if file.startswith("devices/agent/")} <= {*sent, "devices/agent/__init__.py"}
    for number, file in enumerate(sent):
        text = (PACKAGE / file).read_text()
        ast.parse(text, feature_version=(3, 6))
        assert "annotations" not in text, "Python 3.6 cannot import them from the future"
        for module, _ in imported(file):
            inside = _file_of(module) in sent[:number]
            assert inside or module.split(".")[0] in sys.stdlib_module_names, f"{file} needs {module}"


def test_targets_list_themselves_and_share_only_underscored_files() -> None:
    for file in (f for f in FILES if f.startswith("targets/") and not f.endswith("__init__.py")):
        for module, _ in imported(file):
            target = _file_of(module)
            if target and target.startswith("targets/") and target not in {file, "targets/__init__.py"}:
                assert target.split("/")[1].startswith("_"), f"{file} leans on its sibling {target}"


def test_sizes_and_manners() -> None:
    assert [problem for file in FILES for problem in _manners(file, (PACKAGE / file).read_text())] == []


def _manners(file: str, text: str) -> list[str]:
    tree, found = ast.parse(text), []
    if not ast.get_docstring(tree):
        found.append(f"{file} does not say what it is for")
    if len(text.splitlines()) > 400:
        found.append(f"{file} is asking to be two")
    if "utils" in file:
        found.append(f"{file} is a place for everything")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > 50:
                found.append(f"{file}: {node.name} has {lines} lines")
        if isinstance(node, ast.ExceptHandler):
            broad = ast.unparse(node.type) if node.type else "bare"
            if broad in {"Exception", "BaseException", "bare"} and file not in MAY_CATCH_ALL:
                found.append(f"{file} catches {broad}")
    return found


def test_click_lives_in_cli_alone_and_rich_there_and_where_tables_are_drawn() -> None:
    for file in FILES:
        if not file.startswith(("cli/", "__main__")):
            kept_out = {"click"} if file == "report/tables.py" else {"click", "rich"}
            assert not any(module.split(".")[0] in kept_out for module, _ in imported(file)), file


def _modules_after(code: str, cwd: Path) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, check=False)
    return {name for line in done.stderr.splitlines() for name in (line, line.split(".")[0])}


def _through_main(*arguments: str) -> str:
    return (
        f"sys.argv = ['edgeresnet', *{list(arguments)!r}]\n"
        "from edgeresnet.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_is_light(command: str, tmp_path: Path) -> None:
    loaded = _modules_after(_through_main(*([command] if command else []), "--help"), tmp_path)
    assert "click" in loaded
    assert not loaded & (HEAVY | {"numpy", "pydantic", "yaml", "rich", "PIL"})


@pytest.mark.parametrize("name", ["digits.yaml", "segmentation-digits.yaml"])
@pytest.mark.parametrize("command", ["check", "plan"])
def test_looking_ahead_loads_no_runtime(command: str, name: str, tmp_path: Path) -> None:
    path = PACKAGE.parent / "pipelines" / name
    loaded = _modules_after(_through_main(command, str(path)), tmp_path)
    assert "yaml" in loaded, "the command did not run"
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", ["report", "compare"])
def test_reading_runs_loads_no_runtime(command: str, tmp_path: Path) -> None:
    """Nor what a recipe needs to be read: a finished run is a document."""
    store = Store.open(tmp_path / "store")
    for number in (1, 2):
        store.save_run(run_document(id=f"20260101-00000{number}"))
    loaded = _modules_after(_through_main(command, "--store", str(store.root)), tmp_path)
    assert "edgeresnet.report.summary" in loaded, "the command did not run"
    assert not loaded & (HEAVY | {"pydantic", "yaml", "PIL", "rich.markdown", "rich.syntax", "rich.progress"})


@pytest.mark.parametrize("kind", list(report.FORMATS))
def test_a_report_loads_no_runtime(kind: str, tmp_path: Path) -> None:
    """Of a run whose images are still there to be shown, which is the most that it reads."""
    for number, label in enumerate(("cat", "dog", "newt")):
        (tmp_path / "images" / label).mkdir(parents=True)
        for image in range(4):
            Image.new("RGB", (9, 9), (80 * number, image, 0)).save(tmp_path / "images" / label / f"{image}.png")
    runs.on_images(Store.open(tmp_path / "store"), tmp_path / "images")
    command = _through_main("report", "--store", str(tmp_path / "store"), "--format", kind, "--output", "report")
    loaded = _modules_after(command, tmp_path)
    assert not loaded & HEAVY
    assert kind != "html" or (tmp_path / "report").read_text().count("<img") == 2


def test_commands_and_stages_have_one_word_each() -> None:
    stages = {"recognise", "train", "prune", "recover", "trace", "calibrate", "quantize", "compile", "verify", "export"}
    commands = {"run", "plan", "check", "bench", "report", "compare", "gate", "targets", "show", "init", "inspect"}
    commands |= {"predict", "clean", "schema", "completion", "card", "collect", "diagnose", "devices", "sweep"}
    assert set(STAGES) == stages
    assert set(cli.COMMANDS) == commands | {"train", "prune", "quantize", "verify", "export"}
    for name, stage in STAGES.items():
        assert stage.name == name

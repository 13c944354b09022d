"""An INT8 network, the FP32 network that it was made of, and images, as a diagnosis of its layers reads them.

Of a run: what its store still has of it. Of a recipe: found or made. Of two files: the FP32 one traced, the INT8 one
read as its tool wrote it. Changes, stores and judges nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from .. import images, targets
from ..errors import EdgeresnetError, ImagesError, ModelError, listed
from ..graph import adopt, lint, quantized
from ..images import Samples, choose
from ..noise import compiled
from ..noise.compiled import Compiler
from ..noise.diagnose import diagnose
from ..noise.diagnosis import NoiseDiagnosis
from ..noise.pair import WEIGHTED
from ..noise.scan import Progress
from ..notes import QuantizeNotes
from ..portable import onnx_file
from ..portable.documents import shown
from ..portable.onnx_file import OnnxFile
from ..portable.result import Measured
from ..quantization import answers, placement
from ..quantization.net import Net
from ..quantization.torch_net import OPERATORS
from ..recipe import Recipe, is_onnx
from ..runs import Run, StepId, StepRecord
from ..store import Store
from . import planner, resolving, runner
from .listener import Listener

IMAGES, MOST = 64, 512  # by default, and at most: all of them are in memory
_CALIBRATION = 128
_UNRELATED_DB = 5.0  # with less, two thirds of what comes out are not the network's own
_FILE = "model.onnx"
_FORM = {quantized.QUANTIZE, quantized.DEQUANTIZE}
_NAME_FIRST = "name the INT8 file first: `edgeresnet diagnose INT8.onnx --reference FP32.onnx`"


@dataclass(frozen=True)
class Networks:
    """An INT8 network and the FP32 one that it was made of, both canonical, and what people call them."""

    exact: onnx.ModelProto
    rounded: onnx.ModelProto
    network: str
    reference: str
    target: str = ""  # that the INT8 network was written for; empty: a file of any tool
    others: tuple[str, ...] = ()  # targets that have other INT8 networks
    compiler: Compiler | None = None  # of the target, where it is here
    kept_float: frozenset[str] = frozenset()  # layers that the quantizer left in float on purpose

    @property
    def searchable(self) -> bool:
        """Whether `exclude: auto` may search its layers: a detector of two stages is refused there."""
        return answers.unit_of(self.exact) != "cell"

    def explained(self, found: NoiseDiagnosis) -> NoiseDiagnosis:
        """Return a diagnosis without causes that are on purpose: layers that a recipe or a search leaves in float."""
        kept = self.kept_float
        left = tuple(each for each in found.causes if not (each.code == "float-layer" and each.layer in kept))
        return replace(found, causes=left)


def of_files(
    recipe: Recipe, int8: Path, store: Store, listener: Listener, compiler: Compiler | None = None
) -> Networks:
    """Return a file of any quantizer, and the network of a recipe that it was made from."""
    given = recipe.model.checkpoint
    about = check_files(int8, given)
    exact = _traced(recipe, store, listener)
    architecture = resolving.resolve(recipe, store).network.architecture
    classes, task = architecture.classes, architecture.learned
    lint.compared(about, recipe.preprocessing, classes, task)
    rounded = adopt.adopt(int8, recipe.preprocessing, classes, task).model
    name = Path(given or recipe.model.title).name
    return _checked(Networks(exact, rounded, int8.name, name, compiler=compiler))


def of_run(run: Run, recipe: Recipe, store: Store, target: str | None, listener: Listener) -> Networks:
    """Return the INT8 network of a run, as the store has it; `recipe` is the run's."""
    if recipe.model.candidate:
        return of_files(without_candidate(recipe), _candidate(recipe), store, listener)
    steps = {step.id: step for step in run.steps}
    int8 = planner.int8_of(recipe, resolving.resolved_targets(recipe))
    there = {name: steps[str(step)] for name, step in int8.items() if str(step) in steps and steps[str(step)].digest}
    chosen = _chosen(there, target, f"run {run.id}", f"its targets are {listed(recipe.targets) or 'none'}")
    exact, rounded = _file(run, store, steps.get("trace")), _file(run, store, there[chosen])
    result = run.results.get(chosen)
    if isinstance(result, Measured) and result.choice and result.choice.taken != "int8":  # a device's result chose it
        rounded = rounded.with_name(f"{result.choice.taken}.onnx")
    return _of_target(recipe, exact, rounded, there[chosen], chosen, int8)


def of_recipe(recipe: Recipe, store: Store, target: str | None, listener: Listener, name: str) -> Networks:
    """Return the INT8 network that a recipe makes. What leads to it is found in the store, or made."""
    if recipe.model.candidate:
        return of_files(without_candidate(recipe), _candidate(recipe), store, listener)
    int8 = planner.int8_of(recipe, resolving.resolved_targets(recipe))
    wanted = {int8[target]} if target in int8 else set(int8.values())
    if not wanted or (target and target not in int8):
        _chosen(dict.fromkeys(int8), target, name, "add `quantize: {}` to it")
    part = runner.make(recipe, store, lambda step: step.id in wanted, listener)
    there = {name: part.steps[str(step)] for name, step in int8.items() if step in wanted}
    chosen = _chosen(there, target, name, "")
    exact, rounded = (Path(step.path or "") / _FILE for step in (part.steps["trace"], there[chosen]))
    return _of_target(recipe, exact, rounded, there[chosen], chosen, int8)


def taken(samples: Samples, count: int | None, seed: int) -> np.ndarray:
    """Return some images as the network reads them, chosen as calibration images are."""
    if count is not None and count > len(samples):
        raise ImagesError(f"--count {count}", f"is more than the {len(samples)} images", hint="give more, or lower it")
    chosen = samples.subset(choose.balanced(samples, min(count or IMAGES, len(samples)), seed))
    return np.concatenate([chosen.preprocessing.normalize(batch.pixels) for batch in chosen.batches(64)])


def calibrated(recipe: Recipe, store: Store) -> np.ndarray | None:
    """Return some of a recipe's calibration images as the network reads them; None where it has none."""
    if recipe.images.calibration is None:
        return None
    samples = images.open_samples(recipe, "calibration", store)
    return taken(samples, min(_CALIBRATION, len(samples)), recipe.seed)


def images_of(recipe: Recipe, store: Store, count: int | None, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the images of a recipe to diagnose on, and its calibration images."""
    slot = "evaluation" if recipe.images.evaluation else "calibration"
    samples = images.open_samples(recipe, slot, store)
    return taken(samples, count, seed), calibrated(recipe, store)


def diagnosed(
    networks: Networks,
    some: np.ndarray,
    calibration: np.ndarray | None,
    *,
    seed: int,
    progress: Progress = lambda done, total, word: None,
) -> NoiseDiagnosis:
    """Return the noise of an INT8 network by its layers. Refuse networks that are not one and the same."""
    found = diagnose(
        networks.exact,
        networks.rounded,
        some,
        network=networks.network,
        reference=networks.reference,
        calibration=calibration,
        compiler=networks.compiler,
        seed=seed,
        progress=progress,
    )
    check_related(found)
    return networks.explained(found)


def check_count(count: int | None) -> None:
    """Refuse more images than memory should hold."""
    if count is not None and count > MOST:
        hint = f"{MOST} images show every layer's noise: all of them are in memory"
        raise EdgeresnetError(f"--count {count}", f"is more than {MOST}", hint=hint)


def check_files(int8: Path, reference: str | None) -> OnnxFile:
    """Refuse a file that is not INT8 in Q/DQ form, or a reference that is; return what the INT8 file holds."""
    about = onnx_file.read(int8)
    integers = sorted(about.operators & quantized.INTEGER_OPERATORS)
    if integers:
        raise ModelError(
            shown(int8),
            f"computes with {listed(integers[:3], 100, len(integers))}: only INT8 in Q/DQ form can be diagnosed",
            hint="quantize it again in that form: in onnxruntime, `quant_format=QuantFormat.QDQ`",
        )
    original = onnx_file.read(Path(os.path.expanduser(reference or ""))) if is_onnx(reference) else None
    theirs = original is not None and bool(original.operators & (_FORM | quantized.INTEGER_OPERATORS))
    if original is not None and theirs:
        if about.operators & _FORM:
            hint = "name the FP32 network that both were quantized from"
            raise ModelError(f"the reference {shown(original.path)}", "is quantized too", hint=hint)
        raise ModelError(f"{shown(int8)} and {shown(original.path)}", "are exchanged", hint=_NAME_FIRST)
    if not about.operators & _FORM:
        raise ModelError(shown(int8), "is not quantized: it has no QuantizeLinear", hint=_NAME_FIRST)
    return about


def compiler_of(target: str, recipe: Recipe | None = None) -> Compiler | None:
    """Return what a target's compiler computes, with a recipe's options; None where it is not on this machine."""
    found = targets.get(target)
    is_bundle = recipe is not None and recipe.delivery(target).where != "here"
    options = found.options() if recipe is None else recipe.target_options(target)
    if is_bundle or not found.available(options).ok:
        return None
    return compiled.through(found, options)


def check_related(found: NoiseDiagnosis) -> None:
    """Refuse two networks that are not one and the same before quantization."""
    weighted = [layer for layer in found.layers if layer.kind in WEIGHTED]
    odd = sum(not layer.matched for layer in weighted)
    if 2 * odd > len(weighted) and found.sqnr_db is not None and found.sqnr_db < _UNRELATED_DB:
        raise ModelError(
            found.network,
            f"was not quantized from {found.reference}: {odd} of {len(weighted)} layers compute something else",
            hint="name the FP32 network that it was made of",
        )


def exclusion(model: onnx.ModelProto, layer: str) -> str:
    """Return the expression that leaves this layer of a network in float, and no other; empty: there is none.

    Layers that share their weights stay in float together.
    """
    names = [(placement.label(node), node.name) for node in Net(model).weighted()]

    def fits(pattern: str) -> bool:
        return {label for label, name in names if re.search(pattern, label) or re.search(pattern, name)} == {layer}

    escaped = [re.escape(part) for part in (layer, layer[:40], layer[-40:])]
    patterns = [f"^{escaped[0]}$"] if len(layer) <= 200 else [f"^{escaped[1]}", f"{escaped[2]}$"]
    return next(filter(fits, patterns), "")


def _traced(recipe: Recipe, store: Store, listener: Listener) -> onnx.ModelProto:
    part = runner.make(recipe, store, lambda step: step.id == planner.TRACE, listener)
    return _read(Path(part.steps[str(planner.TRACE)].path or "") / _FILE)


def _read(file: Path) -> onnx.ModelProto:
    return onnx.load(file)


def without_candidate(recipe: Recipe) -> Recipe:
    """Return a recipe without another tool's file: its reference alone."""
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"candidate": None})})


def _candidate(recipe: Recipe) -> Path:
    return Path(os.path.expanduser(recipe.model.candidate or ""))


def _of_target(
    recipe: Recipe, exact: Path, rounded: Path, step: StepRecord, target: str, int8: Mapping[str, StepId]
) -> Networks:
    name, notes = recipe.model.title, step.notes
    kept = frozenset(notes.kept_float) if isinstance(notes, QuantizeNotes) else frozenset()
    if isinstance(notes, QuantizeNotes) and notes.control:
        kept |= {layer for each in notes.control.others.values() for layer in each.layers}
    before = f"{name} {'pruned' if recipe.prune else 'in FP32'}"
    others = tuple(each for each, step in int8.items() if step != int8[target])
    compiler = compiler_of(target, recipe)
    found = Networks(_read(exact), _read(rounded), f"{name} for {target}", before, target, others, compiler, kept)
    return _checked(found)


def _chosen(there: Mapping[str, StepRecord | None], target: str | None, name: str, hint: str) -> str:
    """Return the target to diagnose: the named one, else the one whose INT8 has the most noise on held-out images."""
    if target and target not in there:
        known = f"its INT8 is for {listed(there)}" if there else hint
        raise EdgeresnetError(f"{name}", f"has no INT8 for {target}", hint=known)
    if not there:
        raise EdgeresnetError(f"{name}", "has no INT8 network", hint=hint)
    return target or min(there, key=lambda each: _held_out(there[each]))


def _held_out(step: StepRecord | None) -> float:
    notes = step.notes if step else None
    known = notes.held_out.sqnr_db if isinstance(notes, QuantizeNotes) else None
    return float("inf") if known is None else known


def _file(run: Run, store: Store, step: StepRecord | None) -> Path:
    if step is None or step.digest is None:
        raise EdgeresnetError(f"run {run.id}", "has no FP32 network", hint="run its recipe again")
    return store.artifact_of(run, step.digest).path / _FILE


def _checked(networks: Networks) -> Networks:
    """Refuse operators that a diagnosis cannot compute."""
    for model, name in ((networks.exact, networks.reference), (networks.rounded, networks.network)):
        unknown = sorted({node.op_type for node in model.graph.node} - set(OPERATORS) - _FORM)
        if unknown:
            problem = f"uses {listed(unknown, 100)}, which a diagnosis by layers cannot compute"
            raise ModelError(name, problem, hint="compare it as a whole: `edgeresnet verify INT8.onnx --reference …`")
    return networks

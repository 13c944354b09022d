"""Under which conditions a run was measured: the machine, the versions, and how variants were evaluated and timed."""

from __future__ import annotations

from ...portable.machine import Machine
from ...portable.result import Measured, Variant
from ...portable.tasks.task import task_of
from ...runs import Run
from .cells import sqnr_cell


def conditions(run: Run) -> list[str]:
    """Return all that a reader needs to judge or repeat the numbers, line by line."""
    variants = [(result, name, each) for result in run.measured for name, each in result.variants.items()]
    lines = [*machine_lines(run.machine), *(_variant_line(*each) for each in variants)]
    batches = sorted({each.latency.batch for _, _, each in variants if each.latency})
    if batches:
        shown = ", ".join(map(str, batches))
        lines.append(
            f"latency: batch {shown}, in fresh processes, windows in turn; inputs and answers are in the host's "
            "memory; 'device' is p50 by the runtime's own clock, without copies; 'file' is p50 from a cached image "
            "file on; load (with the runtime's import), first inference and peak memory (with Python and the runtime) "
            "are medians over processes"
        )
    return lines


def machine_lines(machine: Machine) -> list[str]:
    """Return what the machine is, and its settings; what is not known of it is left out."""
    cpu = machine.cpu
    instructions = ", ".join(cpu.instructions) or "no INT8 or BF16 instructions"
    quota = f", quota {cpu.quota:g}" if cpu.quota else ""
    memory = f", {machine.memory_gb} GB" if machine.memory_gb else ""
    lines = [f"{cpu.model}, {cpu.cores} cores{quota} ({instructions}){memory}, {machine.system}"]
    settings = {"board": machine.board, "L4T": machine.l4t, "power mode": machine.power_mode, "governor": cpu.governor}
    known = [f"{name} {value}" for name, value in settings.items() if value]
    lines += [", ".join(known)] if known else []
    for gpu in machine.gpus:
        parts = {"driver": gpu.driver, "compute capability": gpu.compute_capability, "GB": gpu.memory_gb}
        lines.append(", ".join([gpu.name or "a GPU", *(f"{name} {value}" for name, value in parts.items() if value)]))
    return lines


def _variant_line(result: Measured, name: str, variant: Variant) -> str:
    accuracy, precision = variant.accuracy, variant.notes.float_parts
    versions = ", ".join(f"{package} {version}" for package, version in result.versions.items())
    parts = [
        f"{result.target} {name}: {versions}",
        f"{accuracy.images} images",
        f"SQNR against the reference: {sqnr_cell(accuracy)}",
    ]
    parts += task_of(result.task).details(result, name) if accuracy.has_labels else []
    parts += [f"on {variant.notes.device}"] if variant.notes.device else []
    return ", ".join(parts + ([f"float parts in {precision}"] if precision else []))

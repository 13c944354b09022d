"""Which of the networks that fit the tensors it is, where `config.json` of transformers or timm says it."""

from __future__ import annotations

import re
from dataclasses import replace

from . import hub, names
from .hub import Convention
from .recognise import Recognised

_PLAIN = re.compile(r"resnet\d+")  # version 1.5, with a max-pool, and nothing else


def decided(found: Recognised | None, convention: Convention | None) -> Recognised | None:
    """Return what was recognised, with the one architecture that the convention leaves.

    Without an architecture where the network has what none of ours has. Unchanged where the convention is about another
    network.
    """
    if found is None or convention is None or not found.archs:
        return found
    archs = [arch for arch in found.archs if _is(arch, convention)]
    if not archs:
        return found
    if convention.unusual:
        return replace(found, archs=(), words=f"{found.words}, but {convention.unusual} ({hub.CONFIG})")
    first = convention.stride == hub.V1 and convention.bottleneck
    words = f"{found.words}, strides in each block's first convolution" if first else found.words
    words = f"{words} ({hub.CONFIG} says what tensors do not show)" if len(found.archs) > 1 else words
    return replace(found, archs=(archs[0],), words=words)


def _is(arch: str, convention: Convention) -> bool:
    """Return whether an architecture is built as the convention says."""
    if convention.arch:
        return arch == convention.arch
    first = convention.stride == hub.V1 and bool(convention.bottleneck)
    build = names.written_out(arch)
    if build is None:
        return _PLAIN.fullmatch(arch) is not None and not first
    usual = (
        build.pooled
        and build.stem_stride == 2
        and not build.shortcut
        and not (build.raw or build.averaged or build.silu)
    )
    return usual and build.first_strided == first and build.plan.bottleneck == convention.bottleneck

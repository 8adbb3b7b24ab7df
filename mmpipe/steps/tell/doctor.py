"""Check a machine and a config before a night depends on them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from mmpipe.config import load_config
from mmpipe.errors import MmpipeError
from mmpipe.io import require_writable
from mmpipe.remote import RemotePath
from mmpipe.steps.tell.doctor_packages import check_ffmpeg, check_packages, check_prefect_home, check_zone
from mmpipe.steps.tell.doctor_plugins import check_plugins
from mmpipe.steps.tell.doctor_server import examine_server
from mmpipe.words import counted

LOW_SPACE_BYTES = 5 << 30


def examine(config_path: Path) -> list[dict[str, str]]:
    """Return one row per check: ok, weak, or wrong with the way out."""
    timezone = _timezone(config_path)
    checks: list[Callable[[], tuple[str, str, str]]] = [
        _check_python,
        _check_system,
        lambda: _check_config(config_path),
        lambda: _check_store(config_path),
        _check_media,
        _check_workers,
        lambda: _check_device(config_path),
        _check_nvdec,
        lambda: _check_features(config_path),
        lambda: _check_models(config_path),
        lambda: _check_release(config_path),
        check_packages,
        check_plugins,
        check_ffmpeg,
        lambda: check_zone(timezone),
        check_prefect_home,
    ]
    found = [*(check() for check in checks), *examine_server(timezone)]
    return [{"check": what, "state": state, "detail": detail} for what, state, detail in found]


def _timezone(path: Path) -> str:
    """Return the zone of the config; the usual one where it cannot be read, which is a row of its own."""
    try:
        return load_config(path).timezone
    except MmpipeError:
        return "UTC"


def _check_python() -> tuple[str, str, str]:
    version = platform.python_version()
    good = (3, 11) <= sys.version_info[:2] < (3, 15)
    return "python", "ok" if good else "wrong", version if good else f"{version}; use 3.11 to 3.14"


def _check_system() -> tuple[str, str, str]:
    if platform.system() != "Linux":
        return "system", "wrong", f"{platform.system()} is not supported: workers are limited with Linux calls"
    return "system", "ok", f"Linux, {len(os.sched_getaffinity(0))} cores"


def _check_config(path: Path) -> tuple[str, str, str]:
    try:
        config = load_config(path)
    except MmpipeError as error:
        return "config", "wrong", str(error)
    return "config", "ok", f"{path}: corpora {sorted(config.corpora)}, models {sorted(config.models)}"


def _check_store(path: Path) -> tuple[str, str, str]:
    try:
        store = load_config(path).store
        require_writable(store if isinstance(store, RemotePath) else _nearest_folder(store))
    except MmpipeError as error:
        return "store", "wrong", str(error)
    if isinstance(store, RemotePath):
        return "store", "ok", f"{store}: writable, with conditional puts"
    free = shutil.disk_usage(_nearest_folder(store)).free
    state = "ok" if free > LOW_SPACE_BYTES else "weak"
    what = "" if store.exists() else " (to be made)"
    return "store", state, f"{store}{what}: writable, with hard links, {free / 2**30:.1f} GiB free"


def _nearest_folder(path: Path) -> Path:
    """Return the path, or the parent that is there: looking must make nothing."""
    return path if path.exists() else _nearest_folder(path.parent)


def _check_media() -> tuple[str, str, str]:
    from mmpipe.media.guard import self_test

    try:
        self_test()
    except MmpipeError as error:
        return "media", "wrong", str(error)
    return "media", "ok", f"PyAV {importlib.metadata.version('av')}: hostile containers are refused"


def _check_workers() -> tuple[str, str, str]:
    """Start a worker as a night does, and ask it what holds it."""
    from mmpipe.engine.local import LocalEngine
    from mmpipe.engine.work import WorkItem
    from mmpipe.media.confine import InForce
    from mmpipe.steps.ground.wire import decode

    try:
        with LocalEngine(1, 2 << 30, worker_setup="mmpipe.steps.workers.worker:set_up") as engine:
            item = WorkItem(name="confinement", payload=None, timeout_s=60)
            (outcome,) = engine.run("mmpipe.steps.workers.worker:tell_confinement", [item])
    except MmpipeError as error:
        return "workers", "wrong", str(error)
    if outcome.result is None:
        return "workers", "wrong", f"a worker could not say what holds it: {outcome.failure and outcome.failure.detail}"
    seen = decode(InForce, outcome.result)
    if faults := seen.faults():
        return "workers", "wrong", ", ".join(faults)
    held = f"no core dumps, {seen.open_files} open files at most, ended with their parent, no new privileges"
    if not seen.network_off:
        return "workers", "weak", f"{held}; but this system lets no process give its network away"
    return "workers", "ok", f"no network, {held}"


def _check_device(path: Path) -> tuple[str, str, str]:
    from mmpipe.steps.workers.compute import device_of

    if importlib.util.find_spec("torch") is None:
        return "torch", "wrong", "not installed; install mmpipe[pipeline]"
    import torch

    devices = "a CUDA device" if torch.cuda.is_available() else "CPU only"
    found = f"{torch.__version__}, {devices}"
    try:
        device_of(load_config(path).engine)
    except MmpipeError as error:
        return "torch", "wrong", f"{found}; {error}"
    return "torch", "ok", found


def _check_nvdec() -> tuple[str, str, str]:
    """Say whether features may have decoder = "nvdec" here; without a GPU nobody misses it."""
    from mmpipe.engine.device.find import find_gpus
    from mmpipe.media.nvdec import examine_nvdec

    gpus = [gpu for gpu in find_gpus() if gpu.is_cuda]
    version, problem = examine_nvdec()
    found = f"torchcodec {version}, {counted(len(gpus), 'NVIDIA GPU')}"
    if version and gpus:
        return "nvdec", "weak" if problem else "ok", f"{found}; {problem}" if problem else found
    why = "there is no NVIDIA GPU that torch can use" if not gpus else problem
    return "nvdec", "ok", f'not used: {why}; decoder = "cpu" is the default'


def _check_features(path: Path) -> tuple[str, str, str]:
    """Make what makes the features of every corpus, as a plan does: models are found and digested, not loaded."""
    from mmpipe.steps.plan.feature_set import check_tables, try_features

    faults: dict[str, str] = {}
    made: set[str] = set()
    try:
        config = load_config(path)
        check_tables(config)  # also those that no corpus reads
        for corpus in config.corpora:
            extractors, unmade = try_features(config, corpus)
            made |= {extractor.name for extractor in extractors}
            faults |= {f"{corpus}: {name}": why for name, why in unmade.items()}
    except MmpipeError as error:
        return "features", "wrong", str(error)
    if faults:
        return "features", "wrong", "; ".join(f"{name}: {why}" for name, why in faults.items())
    return "features", "ok", f"can be made: {', '.join(sorted(made)) or 'none is asked for'}"


def _check_models(path: Path) -> tuple[str, str, str]:
    """Build the networks of every model as a training does, without memory: their answers alone need labels."""
    from mmpipe.steps.train.model_check import check_networks

    faults, built = [], 0
    try:
        config = load_config(path)
    except MmpipeError as error:
        return "models", "wrong", str(error)
    for name in sorted(config.models):
        try:
            built += len(check_networks(config, name))
        except MmpipeError as error:
            faults.append(str(error))
    if faults:
        return "models", "wrong", "; ".join(faults)
    return "models", "ok", f"{counted(built, 'network')} of {counted(len(config.models), 'model')} can be built"


def _check_release(path: Path) -> tuple[str, str, str]:
    """Read the keys that the config names, and say what a release will have beside its weights."""
    from mmpipe.steps.release.graphs import onnx_missing
    from mmpipe.steps.release.sign import check_keys, signing_key

    try:
        config = load_config(path)
        check_keys(config)
    except MmpipeError as error:
        return "release", "wrong", str(error)
    graphs = "no model.onnx (release.onnx is off)"
    if config.release.onnx:
        missing = onnx_missing()
        graphs = f"no model.onnx: {', '.join(missing)} not installed, see mmpipe[onnx]" if missing else "model.onnx"
    return "release", "ok", f"model.pt2, {graphs}; {'signed' if signing_key(config) else 'not signed'}"

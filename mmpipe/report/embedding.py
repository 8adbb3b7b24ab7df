"""Clips as points on a plane, near where their values are near: principal components, or UMAP where it is installed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmpipe.errors import ConfigError
from mmpipe.report.axis import Axis
from mmpipe.report.svg import WIDTH, label, mark, safe, short, stroke, svg

MOST_GROUPS = 6  # of colours; the rest is one more
OTHERS = "others"
NO_LABEL = "no label"
_GRAY = 6  # what is no group has no colour of its own
_SIDE, _TOP, _BOTTOM, _PIC_PX, _MARGIN = 8, 116, 400, 96, 12
_FAR = 2.0  # quartile ranges beyond the quartiles is far out
_SEED = 0
_FEWEST = 4  # clips that have a neighbourhood


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPoint:
    """One clip; `picture` names one of the page's pictures, or none."""

    x: float
    y: float
    group: str
    caption: str
    picture: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapShown:
    """One feature's map."""

    feature: str
    method: str  # "PCA: 31% and 12% of the variance", "UMAP"
    coloured_by: str
    points: tuple[MapPoint, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Places, and how they were found."""

    xy_N2: np.ndarray
    method: str


def standardise(x_ND: np.ndarray) -> np.ndarray:
    """Return values of mean 0 and spread 1 in each dimension that varies."""
    centred_ND = x_ND.astype(np.float64) - x_ND.mean(axis=0)
    spread_D = centred_ND.std(axis=0)
    return np.asarray(centred_ND / np.where(spread_D > 1e-12, spread_D, 1.0))


def project_pca(x_ND: np.ndarray) -> Projection:
    """Return the first two principal components of standardised values; the same values give the same picture."""
    gram_NN = x_ND @ x_ND.T  # [N, N]: there are fewer clips on a page than dimensions
    powers_N, vectors_NN = np.linalg.eigh(gram_NN)
    xy_N2 = np.zeros((len(x_ND), 2))
    shares = []
    for axis, at in enumerate((-1, -2)):
        if len(x_ND) < 1 - at or powers_N[at] <= 1e-9:
            shares.append(0.0)
            continue
        line_N = vectors_NN[:, at] * np.sqrt(powers_N[at])
        xy_N2[:, axis] = line_N * np.sign(line_N[np.abs(line_N).argmax()])
        shares.append(float(powers_N[at] / powers_N.clip(0).sum()))
    return Projection(xy_N2=xy_N2, method=f"PCA: {shares[0]:.0%} and {shares[1]:.0%} of the variance")


def project_umap(x_ND: np.ndarray) -> Projection:
    """Return the plane of UMAP, always the same for the same values. Raise ConfigError where it is not installed."""
    if len(x_ND) < _FEWEST:
        return project_pca(x_ND)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses TensorFlow, for something that is not used here
            import umap
    except ImportError as error:
        raise ConfigError("a UMAP needs the extra: pip install 'mmpipe[umap]'; --map pca needs nothing.") from error
    fitted = umap.UMAP(n_components=2, n_neighbors=min(15, len(x_ND) - 1), random_state=_SEED, n_jobs=1, init="pca")
    return Projection(xy_N2=np.asarray(fitted.fit_transform(x_ND), np.float64), method="UMAP")


def groups_of(points: Sequence[MapPoint]) -> tuple[str, ...]:
    """Return the groups in the order of their names, the largest few of them; then what has none, and `OTHERS`."""
    counts: dict[str, int] = {}
    for point in points:
        counts[point.group] = counts.get(point.group, 0) + 1
    named = sorted((group for group in counts if group != NO_LABEL), key=lambda group: (-counts[group], group))
    rest = (NO_LABEL,) * (NO_LABEL in counts) + (OTHERS,) * (len(named) > MOST_GROUPS)
    return (*sorted(named[:MOST_GROUPS]), *rest)


def map_svg(shown: MapShown, name: str, pictures: Mapping[str, str]) -> str:
    """Return the map; a point says what it is, with its picture, when it is pointed at or has the focus.

    `pictures` are the ids of the page's sprites by the names of pictures.
    """
    across, up = (_axis([getattr(point, side) for point in shown.points]) for side in ("x", "y"))
    groups = groups_of(shown.points)
    right = WIDTH - _SIDE
    parts = [
        f'<path d="M{_SIDE} {_TOP}H{right}V{_BOTTOM}H{_SIDE}Z" {stroke("rule")} fill="none"/>',
        f'<path d="M{_SIDE} 4H{right}V{_TOP - 8}H{_SIDE}Z" {stroke("rule")} stroke-dasharray="3 4" fill="none"/>',
        label(WIDTH / 2, 60, "point at a mark, or go to it with Tab", "soft", "middle"),
    ]
    for point in sorted(shown.points, key=lambda point: (point.group != NO_LABEL, point.picture in pictures)):
        x = _SIDE + _MARGIN + (right - _SIDE - 2 * _MARGIN) * across.place(point.x) / 100
        y = _BOTTOM - _MARGIN - (_BOTTOM - _TOP - 2 * _MARGIN) * up.place(point.y) / 100
        group = point.group if point.group in groups else OTHERS
        parts.append(_point(point, groups.index(group), _colour(group, groups), x, y, pictures.get(point.picture, "")))
    for number, group in enumerate(groups):
        x, y = _SIDE + 8 + 180 * (number % 3), _BOTTOM + 24 + 22 * (number // 3)
        parts.append(mark(number, x, y - 4, _colour(group, groups)) + label(x + 10, y, short(group, 18), "ink"))
    told = f"{len(shown.points)} clips, {shown.method}, coloured by {shown.coloured_by}: {', '.join(groups)}."
    height = _BOTTOM + 34 + 22 * ((len(groups) - 1) // 3)
    return svg(name, f"Map of {shown.feature}", told, WIDTH, height, parts)


def _colour(group: str, groups: Sequence[str]) -> int:
    return _GRAY if group in (NO_LABEL, OTHERS) else groups.index(group)


def _point(point: MapPoint, number: int, colour: int, x: float, y: float, sprite: str) -> str:
    place = ' tabindex="0"' if sprite else ""
    shown = f'<rect x="{_SIDE}" y="4" width="{WIDTH - 2 * _SIDE}" height="{_TOP - 12}" class="frame" fill="#ffffff"/>'
    text_x = _SIDE + 14
    if sprite:
        shown += f'<use href="#{sprite}" x="{_SIDE + 4}" y="8" width="{_PIC_PX * 4 / 3:.0f}" height="{_PIC_PX}"/>'
        text_x += round(_PIC_PX * 4 / 3)
    lines = [point.group, *_lines(point.caption, 38 if sprite else 54)]
    shown += "".join(
        label(text_x, 30 + 22 * n, line, "ink" if not n else "soft", bold=not n) for n, line in enumerate(lines[:4])
    )
    return (
        f'<g class="point"{place}><title>{safe(point.caption)}</title>'
        f'{mark(number, x, y, colour, "dot-of")}<g class="shown" display="none">{shown}</g></g>'
    )


def _lines(text: str, most: int) -> list[str]:
    return [short(text[start : start + most], most) for start in range(0, min(len(text), 3 * most), most)]


def _axis(values: Sequence[float]) -> Axis:
    """Return a scale for the many: what is far out stands at its end."""
    low, first, third, high = np.quantile(values, (0, 0.25, 0.75, 1)).tolist() if values else (0.0, 0.0, 1.0, 1.0)
    reach = _FAR * (third - first) or high - low
    low, high = max(low, first - reach), min(high, third + reach)
    return Axis(low=low, high=high if high > low else low + 1, ticks=())

"""Scenes: composed images whose every pixel knows which object it belongs to.

Colour gives nothing away: objects, their parts and the ground draw theirs from one small palette, an
object is split into parts of different second colours, and the shading runs across it. What tells an
object from its surroundings is its texture, its outline and what belongs together inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_erosion

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 45, 45),
    "orange": (240, 140, 40),
    "yellow": (235, 215, 60),
    "green": (60, 160, 70),
    "cyan": (70, 200, 205),
    "blue": (50, 80, 200),
    "purple": (140, 60, 170),
    "white": (235, 235, 235),
}
_INSIDE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda u, v: np.hypot(u, v) < 0.95,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) < 0.8,
    "triangle": lambda u, v: (v < 0.6) & (v > 1.75 * abs(u) - 1.0),
    "star": lambda u, v: np.hypot(u, v) < 0.46 + 0.58 * _five_points(u, v) ** 1.4,
    "cross": lambda u, v: (np.minimum(abs(u), abs(v)) < 0.31) & (np.maximum(abs(u), abs(v)) < 0.95),
    "ring": lambda u, v: (np.hypot(u, v) < 1.0) & (np.hypot(u, v) > 0.5),
    "crescent": lambda u, v: (np.hypot(u, v) < 1.0) & (np.hypot(u - 0.55, v) > 0.75),
    "heart": lambda u, v: (u * u + v * v * 0.95 - 0.55) ** 3 + u * u * v**3 < 0,
}
"""Which points (u, v), given in units of the radius, lie in a shape."""

SHAPES = tuple(_INSIDE)
TEXTURES = ("striped", "checked", "dotted", "ringed", "speckled", "halved")
BACKGROUNDS = ("cloudy", "grainy", "woven", "veined")


@dataclass(frozen=True)
class SceneObject:
    """One object: its words, from `SHAPES`, `TEXTURES` and `COLOURS`, and its place in pixels.

    `centre` is (x, y) from the top left, `radius` half of the extent before rotation, `area` what is visible.
    """

    shape: str
    texture: str
    colour: str
    centre: tuple[float, float]
    radius: float
    area: int

    @property
    def phrase(self) -> str:
        """The object in words, as the caption says it: ``"a red striped star"``."""
        article = "an" if self.colour[0] in "aeiou" else "a"
        return f"{article} {self.colour} {self.texture} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """An image, uint8 of shape (H, W, 3), with its ground truth; made by `scene`.

    `instances`, int32 of shape (H, W), is 0 where the ground shows and ``k + 1`` where ``objects[k]`` does, from
    the back to the front; `classes` is ``1 + SHAPES.index(shape)`` there. `background` has the ground in words,
    ``"a cloudy red ground"``.
    """

    image: np.ndarray
    instances: np.ndarray
    classes: np.ndarray
    objects: tuple[SceneObject, ...]
    background: str
    seed: int

    @property
    def phrases(self) -> tuple[str, ...]:
        """The objects' phrases, from the back to the front."""
        return tuple(o.phrase for o in self.objects)

    @property
    def caption(self) -> str:
        """One English sentence: every object, then the ground."""
        *first, last = self.phrases
        objects = f"{', '.join(first)} and {last}" if first else last
        return f"{objects} on {self.background}"

    def __repr__(self) -> str:
        h, w = self.instances.shape
        return f"Scene(seed={self.seed}, {h}x{w}, {self.caption!r})"


def _five_points(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """1 in the directions of a star's points, 0 half way between them."""
    return abs((np.arctan2(u, -v) / (2 * np.pi) * 5) % 1 - 0.5) * 2


def _object_pattern(texture: str, u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where the second colour shows; (u, v) are pixels in the object's own frame."""
    period = rng.uniform(4.5, 6.0)
    if texture == "striped":
        return (u / period) % 1 > 0.58
    if texture == "checked":
        return ((u // (0.62 * period)) + (v // (0.62 * period))) % 2 == 0
    if texture == "dotted":
        return np.hypot(u % period - period / 2, v % period - period / 2) < 0.33 * period
    if texture == "ringed":
        return (np.hypot(u, v) / period) % 1 > 0.58
    if texture == "speckled":
        noise = rng.random((u.shape[0] // 2 + 1, u.shape[1] // 2 + 1)) < 0.38
        return noise.repeat(2, 0).repeat(2, 1)[: u.shape[0], : u.shape[1]]
    return u > 0.12 * period  # halved


def _smooth_noise(size: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Values in [0, 1] that vary smoothly over about `cells` bumps per side."""
    grid = rng.random((cells + 1, cells + 1), np.float32)
    y, x = (np.linspace(0, cells, s, endpoint=False, dtype=np.float32) for s in size)
    i, j = y.astype(int), x.astype(int)
    fy, fx = y - i, x - j
    fy, fx = (fy * fy * (3 - 2 * fy))[:, None], (fx * fx * (3 - 2 * fx))[None]
    top = grid[np.ix_(i, j)] * (1 - fx) + grid[np.ix_(i, j + 1)] * fx
    bottom = grid[np.ix_(i + 1, j)] * (1 - fx) + grid[np.ix_(i + 1, j + 1)] * fx
    return top * (1 - fy) + bottom * fy


def _ground(kind: str, size: tuple[int, int], colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A textured ground of shape (H, W, 3) made of three colours of the scene's palette."""
    h, w = size
    y, x = np.mgrid[:h, :w].astype(np.float32)
    a, b, c = colours
    # Three colours in broad patches, so that each object's own mixture occurs on the ground too.
    base = np.where(_smooth_noise(size, 4, rng)[..., None] > 0.5, a, b)
    if kind == "cloudy":
        blend = np.clip((_smooth_noise(size, 7, rng) - 0.3) * 2.5, 0, 1)[..., None]
        return base * (1 - blend) + c * blend
    if kind == "grainy":
        mix = rng.random((h, w)) < 0.25 + 0.5 * _smooth_noise(size, 5, rng)
        return np.where(mix[..., None], c, base)
    if kind == "woven":
        t = rng.uniform(3.0, 4.0)
        over = ((x // (2 * t)) + (y // (2 * t))) % 2 == 0
        thread = np.where(over, (x / t) % 1, (y / t) % 1)
        return np.where((thread > 0.55)[..., None], c, base)
    veins = abs(_smooth_noise(size, 9, rng) - 0.5) < 0.07  # veined
    return np.where(veins[..., None], c, base)


def scene(
    seed: int,
    *,
    size: tuple[int, int] = (96, 96),
    n_objects: int | None = None,
    radius: tuple[float, float] = (0.17, 0.3),
) -> Scene:
    """Compose one scene; the same seed gives the same scene.

    Parameters
    ----------
    seed : int
    size : tuple of int, default (96, 96)
        (height, width) in pixels, each at least 48.
    n_objects : int, optional
        1 to 5; drawn from the seed by default.
    radius : tuple of float, default (0.17, 0.3)
        Smallest and largest radius of an object, as a share of the shorter side; within 0.1..0.5.

    Returns
    -------
    Scene
        With objects of at least 150 visible pixels each; one that the others would hide is left out.
        A ValueError if an option is out of range.

    Examples
    --------
    >>> s = scene(7)
    >>> s.image.shape, int(s.instances.max()) == len(s.objects)
    ((96, 96, 3), True)
    """
    h, w = size
    if min(h, w) < 48:
        raise ValueError(f"size must be at least 48 x 48 pixels, got {h} x {w}; choose a larger size")
    if n_objects is not None and not 1 <= n_objects <= 5:
        raise ValueError(f"n_objects must be in 1..5, got {n_objects}; choose one of these")
    if not 0.1 <= radius[0] <= radius[1] <= 0.5:
        raise ValueError(f"radius must be (smallest, largest) within 0.1..0.5, got {radius}")
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6)) if n_objects is None else n_objects

    names = [list(COLOURS)[i] for i in rng.choice(len(COLOURS), 5, replace=False)]
    rgb = np.array([COLOURS[c] for c in names], np.float32)
    rgb += rng.normal(0, 10, (5, 3)).astype(np.float32)
    kind = str(rng.choice(BACKGROUNDS))
    ground = rng.permutation(5)[:3]
    image = _ground(kind, size, rgb[ground], rng)
    instances = np.zeros(size, np.int32)

    made: list[SceneObject] = []
    for _ in range(n):
        _add_object(image, instances, made, dict(zip(names, rgb, strict=True)), radius, rng)
    image += 6 * rng.standard_normal(image.shape, np.float32)
    areas = np.bincount(instances.ravel(), minlength=len(made) + 1)[1:]
    objects = tuple(replace(o, area=int(area)) for o, area in zip(made, areas, strict=True))
    lookup = np.array([0] + [1 + SHAPES.index(o.shape) for o in objects], np.int32)
    return Scene(
        image=np.clip(image, 0, 255).astype(np.uint8),
        instances=instances,
        classes=lookup[instances],
        objects=objects,
        background=f"a {kind} {names[ground[2]]} ground",
        seed=seed,
    )


def _add_object(
    image: np.ndarray,
    instances: np.ndarray,
    made: list[SceneObject],
    palette: dict[str, np.ndarray],
    radius: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Draw one more object into image, instances and list, if there is a place for it; its area comes later."""
    names, rgb = list(palette), np.array(list(palette.values()))
    twin = made[int(rng.integers(len(made)))] if made and rng.random() < 0.4 else None
    shape = str(rng.choice(SHAPES))
    texture = twin.texture if twin else str(rng.choice(TEXTURES))
    first = names.index(twin.colour) if twin else int(rng.integers(5))
    if twin and rng.random() < 0.25:
        shape = twin.shape  # the same words again: only the place tells the two apart
    others = rng.permutation([k for k in range(5) if k != first])
    r = rng.uniform(*radius) * min(instances.shape)
    placed = _place(instances, len(made), shape, r, rng)
    if placed is None:
        return
    mask, u, v, centre = placed
    pattern = _object_pattern(texture, u * r, v * r, rng)
    # Two parts with different second colours: an object is not one colour, not even in the mean.
    angle = rng.uniform(0, 2 * np.pi)
    part = np.cos(angle) * u + np.sin(angle) * v > rng.uniform(-0.2, 0.2)
    which = np.where(pattern, np.where(part, others[0], others[1]), first)[mask]
    shade = 1 + 0.22 * (np.sin(angle) * u - np.cos(angle) * v)[mask]
    shade[~binary_erosion(mask, iterations=2)[mask]] *= 0.3  # a dark outline, as drawn by hand
    image[mask] = rgb[which] * shade[:, None]
    instances[mask] = len(made) + 1
    made.append(SceneObject(shape, texture, names[first], centre, float(r), 0))


def _place(
    instances: np.ndarray, n_made: int, shape: str, radius: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]] | None:
    """Find a pose that leaves every object seen: mask, own coordinates (in radii), centre; None after 20 tries."""
    h, w = instances.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    full = np.bincount(instances.ravel(), minlength=n_made + 1)[1:]
    for _ in range(20):
        cx, cy = rng.uniform(0.75 * radius, w - 0.75 * radius), rng.uniform(0.75 * radius, h - 0.75 * radius)
        turn = rng.uniform(0, 2 * np.pi)
        dx, dy = (x - cx) / radius, (y - cy) / radius
        u, v = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
        mask = _INSIDE[shape](u, v)
        covered = np.bincount(instances[mask], minlength=n_made + 1)[1:]
        if mask.sum() >= 150 and np.all(full - covered >= 150) and np.all(covered <= 0.35 * full):
            return mask, u, v, (float(cx), float(cy))
    return None

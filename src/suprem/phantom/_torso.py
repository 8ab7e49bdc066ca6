"""Body outline, walls, skeleton and thoracic organs.

Millimetres from the middle of the body at about the second lumbar vertebra: x to the patient's right, y to the front,
z to the head.
"""

import numpy as np

from suprem.phantom._anatomy import Builder
from suprem.phantom._shapes import Column, Ellipsoid, Solid, rotation_matrix, tube
from suprem.phantom._tissues import TISSUES

__all__ = ["add_skeleton", "add_thorax", "add_trunk"]

ANYTHING = frozenset(t.name for t in TISSUES)
INSIDE = frozenset({"visceral_fat"})
WALL = frozenset({"muscle", "visceral_fat"})

_USUAL_WALL_MM = 29.0
# z, middle y, half width, half depth of the skin over a wall of that thickness
_SKIN = np.array(
    [
        [-236.0, -8, 168, 78],
        [-205, -6, 180, 104],
        [-180, -6, 180, 114],
        [-110, -2, 168, 112],
        [-30, 0, 160, 112],
        [60, 0, 164, 116],
        [150, 0, 170, 116],
        [400, 0, 172, 112],
    ]
)
# the same for the abdominal and thoracic cavity below the pelvic brim; above, it follows the wall
_PELVIC_CAVITY = np.array([[-232.0, -8, 34, 44], [-195, -10, 52, 62], [-150, -8, 74, 72], [-112, -4, 104, 78]])


def add_trunk(make: Builder) -> None:
    """Skin, subcutaneous fat, trunk wall, cavity and the muscles beside the spine."""
    patient = make.patient
    skin = _SKIN + np.array([0.0, 0.0, *(2 * [patient.wall_mm - _USUAL_WALL_MM])])
    thighs: list[Solid] = []
    for side in (-1, 1):
        thighs += tube(np.array([(side * 88, -8, -190, 80), (side * 92, -8, -270, 80), (side * 92, -8, -480, 66)]))
    make.add("subcutaneous_fat", Column(skin), *thighs, over=ANYTHING)
    deep = skin.copy()
    deep[:4, 2:] -= 0.4 * patient.fat_mm  # the buttocks carry more fat than the flanks
    muscle_thighs: list[Solid] = []
    for side in (-1, 1):
        muscle_thighs += tube(
            np.array([(side * 88, -8, -195, 66), (side * 92, -8, -270, 66), (side * 92, -8, -480, 52)])
        )
    make.add("muscle", Column(deep, inset=patient.fat_mm), *muscle_thighs, over=ANYTHING)
    upper = deep[4:].copy()
    upper[:, 2:] -= patient.fat_mm + patient.muscle_mm
    make.add("visceral_fat", Column(np.concatenate([_PELVIC_CAVITY, upper])), over=ANYTHING, roughness_mm=2.0)
    spinal_muscles: list[Solid] = []
    for side in (-1, 1):
        spinal_muscles += make.tube(
            [
                (side * 30, -84, -130, 22),
                (side * 32, -84, -40, 25),
                (side * 32, -86, 60, 22),
                (side * 30, -90, 300, 18),
            ],
            sd_mm=2,
            wobble_mm=1,
        )
        spinal_muscles += make.tube(
            [
                (side * 28, -52, 35, 8),
                (side * 38, -50, -30, 17),
                (side * 52, -38, -100, 21),
                (side * 68, 0, -165, 17),
                (side * 84, -2, -215, 14),
            ],
            sd_mm=2,
            wobble_mm=2,
        )
    make.add("muscle", *spinal_muscles, over=WALL)


def add_skeleton(make: Builder) -> None:
    """Spine, ribs, pelvis and both femora."""
    lordosis = make.rng.uniform(5.0, 11.0)
    heights = np.arange(-135.0, 380.0, 8.0)
    middle = -66.0 + lordosis * np.cos((heights + 40.0) / 75.0) * (heights < 190)
    first = make.rng.uniform(0.0, 34.0)
    discs: list[Solid] = []
    bodies: list[Solid] = []
    for z in np.arange(-135.0 + first, 380.0, 34.0):
        y = float(np.interp(z, heights, middle))
        bodies.append(Ellipsoid(np.array([0, y, z]), np.array([23.0, 17.0, 14.5]), np.eye(3), 4.0))
        bodies.append(Ellipsoid(np.array([0, y - 36, z - 8]), np.array([5.0, 22.0, 10.0]), np.eye(3), 3.0))
        bodies.append(Ellipsoid(np.array([0, y - 25, z]), np.array([32.0, 6.0, 7.0]), np.eye(3), 3.0))
        discs.append(Ellipsoid(np.array([0, y, z + 17.0]), np.array([22.0, 16.0, 6.0]), np.eye(3), 4.0))
    make.add("disc", *discs, over=WALL)
    make.add("vertebra", *bodies, over=WALL | {"disc", "subcutaneous_fat"})
    canal = np.stack([0 * heights, middle - 21.0, heights, 0 * heights + 8.0], axis=1)
    make.add("spinal_canal", *tube(canal[::4]), over=WALL | {"vertebra", "disc"})
    _add_ribs(make)
    _add_pelvis(make)


def _add_ribs(make: Builder) -> None:
    patient = make.patient
    ribs: list[Solid] = []
    for z in np.arange(20.0 + make.rng.uniform(0, 28), 330.0, 28.0):
        width, depth = (side + 0.5 * patient.muscle_mm - _USUAL_WALL_MM for side in (164.0, 114.0))
        last = 2.5 if z > 75 else 1.9  # the lowest ribs do not reach the front
        angle = np.linspace(-1.2, last - 1.2, 12)
        x, y = width * np.cos(angle), depth * np.sin(angle)
        drop = -16.0 * (angle + 1.2)
        for side in (-1, 1):
            ribs += tube(np.stack([side * x, y, z + 20.0 + drop, 0 * x + 4.5], axis=1), step_mm=14.0)
    make.add("rib", *ribs, over=WALL)


def _add_pelvis(make: Builder) -> None:
    size = make.factor(0.04)
    bones: list[Solid] = [
        Ellipsoid(np.array([0, -76, -150]), np.array([42.0, 16.0, 46.0]), rotation_matrix(np.array([18.0, 0, 0])), 2.5),
        Ellipsoid(np.array([0, -74, -200]), np.array([9.0, 7.0, 26.0]), rotation_matrix(np.array([-25.0, 0, 0])), 2.5),
    ]
    for side in (-1, 1):
        wing = rotation_matrix(np.array([-12.0, side * -24.0, side * 32.0]))
        bones.append(Ellipsoid(np.array([side * 98, -28, -118]), np.array([9.0, 62.0, 50.0]), wing, 2.6))
        bones.append(Ellipsoid(np.array([side * 74, -6, -178]), np.array([15.0, 28.0, 28.0]), np.eye(3), 2.4))
        bones += tube(np.array([(side * 72, 8, -172, 10), (side * 40, 42, -190, 8), (side * 6, 46, -206, 9)]))
        bones += tube(np.array([(side * 66, -28, -190, 11), (side * 54, -34, -232, 13), (side * 22, 18, -228, 7)]))
    make.add("pelvis", *bones, over=WALL | {"disc", "vertebra"})
    for side, name in ((-1, "femur_left"), (1, "femur_right")):
        move = make.shift(2.0)
        head = np.array([side * 92.0, -6.0, -182.0]) + move
        neck = np.array(
            [(*head, 14), (*np.add(head, (side * 28, -2, -22)), 14), (*np.add(head, (side * 46, -6, -32)), 18)]
        )
        shaft = np.array(
            [
                (*np.add(head, (side * 40, -6, -34)), 19),
                (*np.add(head, (side * 34, -2, -80)), 15),
                (*np.add(head, (side * 22, 6, -300)), 14),
            ]
        )
        ball = Ellipsoid(head, np.full(3, 23.5 * size), np.eye(3))
        make.add(name, ball, *tube(neck), *tube(shaft), over=WALL | {"pelvis", "subcutaneous_fat"})


def add_thorax(make: Builder) -> None:
    """Lungs, heart and mediastinum; the abdominal organs are painted over the lung bases."""
    for side, name in ((1, "lung_right"), (-1, "lung_left")):
        dome = 92.0 if side > 0 else 104.0
        upper = make.ellipsoid((side * 78, -4, dome + 122), (60, 96, 128), sd_mm=5, exponent=2.6, spread=0.06)
        recess = make.ellipsoid((side * 78, -58, dome - 10), (46, 30, 62), sd_mm=5, exponent=2.4)
        make.landmarks[name] = upper.centre
        make.add(name, upper, recess, over=INSIDE, roughness_mm=3.0)
    lungs = frozenset({"lung_left", "lung_right"})
    heart = make.ellipsoid((-20, 32, 168), (54, 44, 50), angles=(20, 0, 25))
    trunk = make.tube([(-4, 10, 190, 30), (0, 0, 260, 28), (0, -5, 360, 26)], sd_mm=2)
    make.add("heart", heart, *trunk, over=INSIDE | lungs, roughness_mm=3.0)

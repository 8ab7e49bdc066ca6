"""Abdominal and pelvic organs and vessels; coordinates as in :mod:`suprem.phantom._torso`."""

import numpy as np
import numpy.typing as npt

from suprem.phantom._anatomy import Builder
from suprem.phantom._shapes import Block, Solid, tube

__all__ = ["add_bowel", "add_organs", "add_pelvic_organs", "add_soft_surroundings", "add_vessels"]

FREE = frozenset({"visceral_fat", "lung_left", "lung_right"})
BOWEL = frozenset({"intestine", "colon", "colon_gas"})
SOLID_ORGANS = frozenset({"liver", "spleen", "stomach", "stomach_gas", "kidney_left", "kidney_right"})


def add_organs(make: Builder) -> None:
    """Stomach, liver, spleen, kidneys, adrenal glands, gall bladder."""
    stomach = make.path(
        [(-70, -22, 108, 30), (-72, 0, 92, 36), (-66, 32, 62, 33), (-44, 56, 32, 27), (-12, 62, 18, 22),
         (14, 54, 16, 16), (26, 46, 16, 11)],
        sd_mm=8, wobble_mm=6, spread=0.15,
    )  # fmt: skip
    make.landmarks["stomach"] = stomach
    make.add("stomach", *tube(stomach, step_mm=12), over=FREE | {"heart"}, roughness_mm=4.0)
    gas = make.ellipsoid(stomach[2, :3] + (4, 22, 6), (20, 13, 22), sd_mm=3, spread=0.2)
    make.add("stomach_gas", gas, over=frozenset({"stomach"}))
    size = make.factor(0.1)
    right = make.ellipsoid((72, 2, 52), np.array((66, 78, 68)) * size, angles=(0, 0, -10), sd_mm=9, exponent=2.4)
    left = make.ellipsoid((2, 42, 72), np.array((76, 36, 32)) * size, angles=(0, 14, 8), sd_mm=9, exponent=2.2)
    make.landmarks["liver"] = right.centre
    make.landmarks["liver_left"] = left.centre
    make.landmarks["liver_radii"] = right.radii
    make.add("liver", right, left, over=FREE | {"heart", "stomach"}, roughness_mm=4.0)
    spleen = make.ellipsoid((-100, -42, 64), (30, 50, 46), angles=(22, 8, 20), sd_mm=9, spread=0.16, exponent=2.2)
    make.landmarks["spleen"] = spleen.centre
    make.add("spleen", spleen, over=FREE | {"stomach"}, roughness_mm=3.5)
    for side, name, z in ((1, "kidney_right", -14), (-1, "kidney_left", 2)):
        _add_kidney(make, side, name, z)
    bladder = make.landmarks["liver"] + (-18, 48, -52)
    gall = make.ellipsoid(bladder, (15, 24, 15), angles=(35, 0, 12), sd_mm=4, spread=0.14)
    make.add("gall_bladder", gall, over=FREE | {"liver"}, roughness_mm=1.5)


def _add_kidney(make: Builder, side: int, name: str, z: float) -> None:
    kidney = make.ellipsoid(
        (side * 66, -50, z), (27, 25, 52), angles=(-8, side * 10, side * 28), sd_mm=8, spread=0.12, exponent=2.2
    )
    make.landmarks[name] = kidney.centre
    make.landmarks[f"{name}_radii"] = kidney.radii
    over = FREE | {"liver", "spleen", "stomach", "muscle"}
    make.add(name, kidney, over=over, roughness_mm=2.0)
    sinus = kidney.centre + np.array((-side * 22, 5, 0)) + make.shift(2.0)
    make.add("visceral_fat", make.ellipsoid(sinus, (15, 9, 20), sd_mm=0), over=frozenset({name}))
    top = np.array((side * 34.0, -40.0, kidney.centre[2] + 52.0)) + make.shift(2.5)
    limbs: list[Solid] = []
    for end in ((side * 12, -14, -14), (-side * 4, -16, -12)):
        limbs += make.tube(
            [(*np.add(top, (0, 6, 8)), 4.5), (*np.add(top, (0, -2, 0)), 4.5), (*np.add(top, end), 3.5)],
            sd_mm=0,
            wobble_mm=1.0,
        )
    make.add(name.replace("kidney", "adrenal_gland"), *limbs, over=FREE | SOLID_ORGANS | {"muscle"})


def add_bowel(make: Builder) -> None:
    """Small intestine, colon, duodenum, pancreas, oesophagus."""
    rng = make.rng
    loops: list[tuple[float, float, float, float]] = []
    direction = 1
    pitch = rng.uniform(22.0, 33.0)
    for row, z in enumerate(-32.0 - pitch * np.arange(4)):
        for deep in (0, 1):
            y = (52.0, 18.0)[(row + deep) % 2]
            for x in np.linspace(-66, 66, 5)[::direction]:
                shift = rng.normal(0.0, 7.0, 3)
                loops.append((x + shift[0], y + shift[1], z + shift[2], 13.5))
            direction = -direction
    size = make.factor(0.08)
    way = np.array(loops) * (1, 1, 1, size) + (*make.shift(8.0), 0)
    make.add("intestine", *tube(way, step_mm=10), over=FREE, roughness_mm=2.5)
    colon = make.path(
        [(88, 18, -112, 21), (102, 6, -84, 24), (106, -4, -42, 22), (92, 22, -14, 21), (64, 64, -26, 20),
         (12, 78, -48, 19), (-44, 72, -34, 18), (-86, 38, 6, 19), (-108, 6, 30, 18), (-114, -16, -12, 17),
         (-112, -12, -62, 16), (-98, 4, -108, 16), (-66, 30, -136, 16), (-26, 34, -128, 16), (4, -6, -136, 16),
         (4, -38, -150, 17)],
        sd_mm=5, wobble_mm=10, spread=0.16,
    )  # fmt: skip
    colon[:, 0] = np.clip(colon[:, 0], -106, 106)  # not into the wall
    make.landmarks["colon"] = colon
    ripple_mm = float(rng.uniform(26, 36))
    make.add("colon", *tube(colon, step_mm=6, ripple=0.13, ripple_mm=ripple_mm), over=FREE | BOWEL, roughness_mm=2.0)
    for index in rng.choice(10, size=int(rng.integers(1, 5)), replace=False) + 1:
        bubble = make.ellipsoid(colon[index, :3] + (0, 0.45 * colon[index, 3], 0), np.full(3, 0.5 * colon[index, 3]))
        make.add("colon_gas", bubble, over=frozenset({"colon"}))
    pancreas = make.path(
        [(30, 14, -16, 13), (26, 18, 0, 15), (8, 28, 10, 10), (-18, 20, 20, 11.5),
         (-46, 2, 28, 12), (-74, -18, 38, 10)],
        sd_mm=6, wobble_mm=4, spread=0.12,
    )  # fmt: skip
    make.landmarks["pancreas"] = pancreas
    over = FREE | BOWEL | SOLID_ORGANS
    make.add("pancreas", *tube(pancreas, step_mm=6), over=over, roughness_mm=2.0)
    pylorus = make.landmarks["stomach"][-1, :3]
    duodenum = make.path(
        [(46, 34, 4, 12), (54, 18, -20, 13), (48, 6, -46, 13), (20, 2, -56, 12.5),
         (-12, 8, -52, 12), (-28, 22, -38, 12)],
        sd_mm=5, wobble_mm=4,
    )  # fmt: skip
    duodenum = np.concatenate([[(*pylorus, 11.0)], duodenum])
    free_of_kidney = over - {"kidney_left", "kidney_right"}
    make.add("duodenum", *tube(duodenum, step_mm=6), over=free_of_kidney, roughness_mm=1.5)
    cardia = make.landmarks["stomach"][0, :3] + (22, 6, -6)
    esophagus = make.path([(-2, -34, 360, 9), (-4, -34, 200, 9), (-14, -28, 140, 9.5)], sd_mm=2, wobble_mm=2)
    esophagus = np.concatenate([esophagus, [(*cardia, 10.0)]])
    make.landmarks["esophagus"] = esophagus
    make.add("esophagus", *tube(esophagus), over=FREE | {"heart", "liver", "stomach"})


def add_pelvic_organs(make: Builder) -> None:
    """Rectum, bladder and prostate."""
    joint = make.landmarks["colon"][-1]
    rectum = make.path([(0, -50, -172, 19), (0, -54, -196, 20), (0, -42, -220, 15), (0, -38, -236, 11)], wobble_mm=4)
    make.add("rectum", *tube(np.concatenate([[joint], rectum])), over=FREE | BOWEL | {"muscle"}, roughness_mm=1.5)
    bladder = make.ellipsoid((0, 26, -170), (40, 30, 28), sd_mm=6, spread=0.2, exponent=2.2)
    over = FREE | BOWEL | {"muscle"}
    make.add("bladder", bladder, over=over, roughness_mm=3.0)
    neck = bladder.centre + np.array((0.0, -22.0, -8.0 - bladder.radii[2]))
    prostate = make.ellipsoid(neck, (24, 17, 17), sd_mm=2.5, spread=0.14)
    make.add("prostate", prostate, over=over | {"rectum"}, roughness_mm=1.5)


def add_vessels(make: Builder) -> None:
    """Aorta, inferior vena cava, portal and splenic vein, coeliac trunk, iliac and hepatic vessels."""
    soft = FREE | BOWEL | SOLID_ORGANS | {"heart", "duodenum", "muscle", "pancreas"}
    aorta = make.path(
        [(-20, -44, 360, 12), (-20, -44, 180, 12), (-13, -38, 100, 11.5), (-8, -32, 40, 10.5), (-8, -30, -20, 9.5),
         (-4, -30, -78, 9)],
        sd_mm=4, wobble_mm=4, spread=0.14,
    )  # fmt: skip
    cava = make.path(
        [(18, -28, -84, 11), (20, -30, -20, 11), (20, -26, 40, 12), (18, -12, 84, 13),
         (16, -2, 112, 13), (10, 8, 140, 13)],
        sd_mm=4, wobble_mm=3, spread=0.16,
    )  # fmt: skip
    iliac: list[Solid] = []
    for side in (-1, 1):
        iliac += make.tube(
            [(*aorta[-1, :3], 6), (side * 38, -20, -128, 6.5), (side * 62, 18, -180, 6.5), (side * 70, 38, -240, 6)],
            sd_mm=0, wobble_mm=2,
        )  # fmt: skip
    make.add("iliac_vessel", *iliac, over=FREE | BOWEL | {"muscle"})
    make.add("postcava", *tube(cava), over=soft)
    pancreas = make.landmarks["pancreas"]
    hilum = make.landmarks["liver"] + (-30, 4, 4) + make.shift(3.0)
    behind = pancreas[2:, :3] + (2, -11, 1)
    portal = np.concatenate(
        [[(*hilum, 7.0)], [(*(0.5 * (hilum + behind[0] + (6, 0, 0))), 7.5)], np.c_[behind, np.full(len(behind), 6.5)]]
    )
    portal = np.concatenate([portal, [(*(make.landmarks["spleen"] + (24, 8, -6)), 5.5)]])
    make.add("portal_vein_and_splenic_vein", *tube(portal, step_mm=6), over=soft | {"postcava"})
    make.add("aorta", *tube(aorta), over=soft | {"esophagus", "postcava"})
    root = np.array([float(np.interp(46.0, aorta[::-1, 2], aorta[::-1, i])) for i in range(2)])
    tip = np.array((root[0] + 2, root[1] + 30.0, 46.0)) + make.shift(2.0)
    trunk = [(root[0], root[1] + 8, 44.0, 5.0), (*tip, 4.5)]
    branches = [
        tube(np.array([(*tip, 4.2), (tip[0] + s * 14, tip[1] + 4, 47.0, 4.0), (tip[0] + s * 30, tip[1] - 2, 48, 3.6)]))
        for s in (-1, 1)
    ]
    make.add("celiac_trunk", *tube(np.array(trunk)), *branches[0], *branches[1], over=soft)
    _add_hepatic_vessels(make, cava, hilum)


def add_soft_surroundings(make: Builder) -> None:
    """Soft tissue that belongs to no structure, in the fat between the organs: lymph nodes, mesentery, free fluid.

    Without it fat would outline every organ, and a voxel's value would give away that it belongs to one.
    """
    fat = frozenset({"visceral_fat"})
    for _ in range(int(make.rng.integers(8, 15))):
        centre = make.rng.uniform((-90, -60, -200), (90, 85, 90))
        radii = make.rng.uniform(7, 20, 3)
        make.add("node", make.ellipsoid(centre, radii, tilt_deg=90), over=fat, roughness_mm=2.0)
    below_diaphragm = Block(
        np.array((-160.0, -110, -240)), np.array((160.0, 110, 110)), float(make.rng.uniform(0.0, 5.0))
    )
    make.add("mesentery", below_diaphragm, over=fat, roughness_mm=10.0)


def _add_hepatic_vessels(make: Builder, cava: npt.NDArray[np.float64], hilum: npt.NDArray[np.float64]) -> None:
    centre = make.landmarks["liver"]
    confluence = cava[3, :3]
    left = make.landmarks["liver_left"]
    ends = [np.add(centre, (26, -34, 6)), np.add(centre, (20, 24, 4)), np.add(left, (-22, 4, 6))]
    veins: list[Solid] = []
    paths = []
    for end in ends:
        middle = 0.5 * (confluence + end) + make.shift(4.0) + (0, 0, 8)
        paths.append(np.array([(*confluence, 6.5), (*middle, 5.5), (*(end + make.shift(5.0)), 4.0)]))
        fork = middle + 0.7 * (end - middle) + make.shift(4.0) + (0, 0, -22)
        paths.append(np.array([(*middle, 4.5), (*fork, 3.6)]))
    for end in (np.add(centre, (32, -22, -18)), np.add(centre, (28, 26, -22)), np.add(left, (-14, -4, -8))):
        middle = 0.5 * (hilum + end) + make.shift(3.0)
        paths.append(np.array([(*hilum, 6.5), (*middle, 5.5), (*(end + make.shift(4.0)), 4.0)]))
    for path in paths:
        veins += tube(path, step_mm=6)
    make.landmarks["hepatic_branches"] = np.concatenate([p[1:3] for p in paths if len(p) == 3])
    make.add("hepatic_vessel", *veins, over=frozenset({"liver"}))

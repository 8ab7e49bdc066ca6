"""Size of a report with one scan of 512 x 512 x 300 voxels and 32 structures, and seconds to make and to open it.

    python experiments/benchmarks/report_viewer.py

The scan is a synthetic abdomen of 3 mm, interpolated to the full grid, with white noise of 20 HU at every voxel: noise
is what does not compress. Masks are made and added one at a time, as `suprem predict --report` does; only the adding
counts. The page is opened in headless Chromium (which has to be installed), several times with an empty profile; drawn
is the moment at which all three planes stand on the screen, measured by the page from the start of its loading. Next to
it is the processor time of the page's process until then, which other work on the machine does not lengthen. Memory is
what is allocated at most on top of the scan and one mask. Writes `results_report_viewer.csv` beside itself.
"""

import csv
import os
import shutil
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from suprem.phantom import generate
from suprem.report import Report, StructureRow, Viewer, ViewerBuilder
from suprem.volumes import Volume
from suprem.volumes.geometry import nearest_index, resample_linear

SHAPE, NOISE_HU, LOADS, SLICES = (512, 512, 300), 20.0, 7, 40
SCREENS = {"desktop": (1440, 900), "phone": (390, 844)}


def scan() -> tuple[Volume, dict[str, np.ndarray], np.ndarray]:
    """The CT, for each structure which palette entries hold it, and the palette indices on the full grid."""
    case = generate(1, spacing_mm=(3.0, 3.0, 3.0))
    steps = tuple(n / m for n, m in zip(case.ct.shape, SHAPE, strict=True))
    hu = resample_linear(case.ct.array, SHAPE, steps)
    rng = np.random.default_rng(0)
    for z in range(SHAPE[2]):
        hu[:, :, z] += rng.normal(0, NOISE_HU, SHAPE[:2])
    affine = case.ct.affine.copy()
    affine[:3, :3] *= steps
    places = [nearest_index(n, m, s) for n, m, s in zip(case.ct.shape, SHAPE, steps, strict=True)]
    members = {name: np.array([name in entry for entry in case.table]) for name in case.structures}
    return Volume(hu.astype(np.int16), affine, "phantom"), members, case.labels.array[np.ix_(*places)]


def built(rows: list[tuple[str, str]]) -> Viewer:
    """Makes the viewer, and notes seconds and memory."""
    ct, members, labels = scan()
    tracemalloc.start()
    builder, seconds = ViewerBuilder(ct), 0.0
    for name, entries in members.items():
        mask = entries[labels]
        start = time.perf_counter()
        builder.add(name, mask)
        seconds += time.perf_counter() - start
        del mask
    rows.append((f"add {len(members)} masks, s", f"{seconds:.1f}"))
    start = time.perf_counter()
    viewer = builder.build([StructureRow(name, {"Volume (ml)": 1.0, "Mean HU": 50.0}) for name in members])
    rows.append(("average, compand and compress the scan, s", f"{time.perf_counter() - start:.1f}"))
    extra = tracemalloc.get_traced_memory()[1] - labels.size  # a mask has a byte per voxel
    tracemalloc.stop()
    rows.append(("memory on top of the scan and one mask, MiB", f"{extra / 2**20:.0f}"))
    return viewer


def opened(browser: Browser, path: Path, screen: str, rows: list[tuple[str, str]]) -> None:
    """Loads the page in fresh contexts; then pages through slices."""
    width, height = SCREENS[screen]
    drawn, busy, redrawn = [], [], []
    for _ in range(LOADS):
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        tools = context.new_cdp_session(page)
        tools.send("Performance.enable")
        page.goto(path.as_uri())
        page.wait_for_selector(".viewer[data-state=ready]")
        drawn.append(page.evaluate("performance.getEntriesByName('section-1 drawn')[0].startTime") / 1000)
        metrics = {entry["name"]: entry["value"] for entry in tools.send("Performance.getMetrics")["metrics"]}
        busy.append(metrics["ProcessTime"])
        redrawn.append(
            page.evaluate(
                """async (slices) => {
                    const frame = () => new Promise((done) => requestAnimationFrame(done));
                    const pager = document.querySelector(".pager");
                    const start = performance.now();
                    for (let slice = 0; slice < slices; slice += 1) {
                        pager.value = 100 + slice;
                        pager.dispatchEvent(new Event("input"));
                        await frame();
                    }
                    return (performance.now() - start) / slices;
                }""",
                SLICES,
            )
        )
        context.close()
    figures = (
        ("open until drawn, s", drawn, 2),
        ("processor time until then, s", busy, 2),
        ("next slice, ms", redrawn, 0),
    )
    for what, values, digits in figures:
        least, middle, most = min(values), statistics.median(values), max(values)
        rows.append(
            (f"{screen}: {what} (least, median, most)", f"{least:.{digits}f} {middle:.{digits}f} {most:.{digits}f}")
        )


def main() -> None:
    """Measures and writes the table."""
    rows = [("processors; load average at the start", f"{os.cpu_count()}; {os.getloadavg()[0]:.1f}")]
    viewer = built(rows)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("No Chromium is installed; on Debian: apt-get install chromium.")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = Report("phantom", [viewer]).write(Path(folder) / "report.html")
        rows.append(("write the page, s", f"{time.perf_counter() - start:.1f}"))
        rows.append(("file, MB", f"{path.stat().st_size / 1e6:.1f}"))
        with sync_playwright() as driver:
            flags = ["--headless", "--no-sandbox", "--disable-gpu"]
            browser = driver.chromium.launch(executable_path=chromium, args=flags)
            rows.append(("browser", f"Chromium {browser.version}"))
            for screen in SCREENS:
                opened(browser, path, screen, rows)
            browser.close()
    rows.append(("load average at the end", f"{os.getloadavg()[0]:.1f}"))
    result = Path(__file__).with_name("results_report_viewer.csv")
    with result.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("quantity", "value"), *rows])
    print(result.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

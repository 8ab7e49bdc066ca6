"""The course of a run over many scans: reading, predicting and writing side by side, and what came of each."""

import csv
import io
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suprem._files import atomic_path, told_of
from suprem.errors import OutputError, SupremError
from suprem.inference._manifest import (
    case_manifest,
    difference,
    input_sha256,
    is_complete,
    model_facts,
    now,
    read_manifest,
    versions,
)
from suprem.inference.dicom_seg import write_dicom_seg
from suprem.inference.outputs import REPORT, CasePage, write_case
from suprem.inference.results import CaseResult, Reporter, RunResult
from suprem.inference.statistics import found_in
from suprem.labels import LabelSpace
from suprem.volumes.dicom import Series, select_series
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_ct
from suprem.volumes.scan_checks import check_scan
from suprem.volumes.scans import ScanInput
from suprem.volumes.symptoms import Symptom

if TYPE_CHECKING:
    from suprem.inference.predictor import Predictor
    from suprem.inference.segmentation import Segmentation

__all__ = ["Options", "Run"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How results are written; see :func:`suprem.inference.folder.predict_folder`."""

    output: Path
    space: LabelSpace
    output_format: str
    series: str | int | None
    resume: bool
    overwrite: bool
    jobs: int
    report: Callable[[Volume], CasePage] | None = None


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A scan in memory."""

    scan: ScanInput
    started: float
    volume: Volume
    series: Series | None
    sha256: str
    read_seconds: float
    check_seconds: float
    symptoms: tuple[Symptom, ...]


class Run:
    """State of one run; results are collected in the calling thread."""

    def __init__(self, predictor: "Predictor", options: Options, reporter: Reporter) -> None:
        self._predictor, self._options, self._reporter = predictor, options, reporter
        self._model = model_facts(predictor)
        self._settings = {
            **predictor.settings,
            "numbering": options.space.name,
            "format": options.output_format,
            "series": options.series,
        }
        self._results: list[CaseResult] = []
        self._reading: deque[tuple[ScanInput, Future[_Loaded | CaseResult]]] = deque()
        self._writing: set[Future[CaseResult]] = set()
        self._waiting: Iterator[ScanInput] = iter(())

    def execute(self, scans: Sequence[ScanInput]) -> RunResult:
        """Predicts all scans; what is being written when the run is interrupted is still finished."""
        started, clock = now(), time.perf_counter()
        self._waiting = iter(scans)
        pool = ThreadPoolExecutor(self._options.jobs, thread_name_prefix="suprem-io")
        try:
            self._refill(pool)
            while self._reading or self._writing:
                if self._reading:
                    self._advance(pool)
                else:
                    wait(self._writing, return_when=FIRST_COMPLETED)
                self._collect()
                self._refill(pool)
        finally:
            pool.shutdown(cancel_futures=True)
            manifest = self._summary(len(scans), started, time.perf_counter() - clock)
        return RunResult(tuple(self._results), manifest)

    def _refill(self, pool: ThreadPoolExecutor, running: int = 0) -> None:
        """Starts to read while fewer than ``jobs`` scans are in memory."""
        while running + len(self._reading) + len(self._writing) < self._options.jobs:
            scan = next(self._waiting, None)
            if scan is None:
                return
            self._reading.append((scan, pool.submit(self._read, scan)))

    def _collect(self) -> None:
        done = {future for future in self._writing if future.done()}
        self._writing -= done
        for future in done:
            self._end(future.result())

    def _advance(self, pool: ThreadPoolExecutor) -> None:
        """Predicts the scan that was read first; its volume must not outlive this call other than for writing."""
        scan, future = self._reading.popleft()

        def between_windows(done: int, total: int) -> None:
            self._reporter.windows(scan, done, total)
            self._collect()
            self._refill(pool, running=1)

        try:
            loaded = future.result()
            if isinstance(loaded, CaseResult):
                self._end(loaded)
                return
            self._reporter.started(scan)
            self._reporter.checked(scan, loaded.symptoms)
            segmentation = self._predictor.predict(
                loaded.volume, between_windows, planned=lambda plan: self._reporter.planned(scan, plan)
            )
        except Exception as error:  # whatever one scan does, the others must still be predicted
            self._end(self._failure(scan, error))
            return
        self._writing.add(pool.submit(self._write, loaded, segmentation))

    def _end(self, result: CaseResult) -> None:
        self._results.append(result)
        self._reporter.ended(result)

    def _read(self, scan: ScanInput) -> _Loaded | CaseResult:
        """A scan, or what an earlier run has made of it; runs in a worker thread, as :meth:`_write` does."""
        started = time.perf_counter()
        target = self._options.output / scan.case_id
        if scan.path.resolve().is_relative_to(target.resolve()):
            raise OutputError(f"{target} holds the scan itself; choose another output folder.")
        self._refuse_foreign(target)
        wanted = self._options.series if scan.kind == "dicom" else None
        series = select_series(scan.path, wanted) if scan.kind == "dicom" else None
        sha256 = input_sha256(scan, series)
        earlier = self._earlier(scan, target, sha256)
        if earlier is not None:
            return earlier
        volume = read_ct(scan.path, series=wanted)
        read = time.perf_counter()
        symptoms = check_scan(volume)
        checked = time.perf_counter()
        return _Loaded(scan, started, volume, series, sha256, read - started, checked - read, symptoms)

    def _refuse_foreign(self, target: Path) -> None:
        if not target.exists():
            return
        if read_manifest(target) is None:
            raise OutputError(f"{target} exists and was not written by this program; choose another output folder.")
        if not (self._options.resume or self._options.overwrite):
            raise OutputError(f"{target} already exists; use --resume to keep it, or --overwrite to replace it.")

    def _earlier(self, scan: ScanInput, target: Path, sha256: str) -> CaseResult | None:
        """What an earlier run has made of a scan, if it can stand."""
        manifest = read_manifest(target)
        if manifest is None or not self._options.resume:
            return None
        changed = difference(manifest, sha256=sha256, model=self._model, settings=self._settings)
        if changed and not self._options.overwrite:
            raise OutputError(f"{target} was made {changed}; use --overwrite to replace it, or another output folder.")
        if changed or not is_complete(manifest, target, (REPORT,) if self._options.report else ()):
            return None
        try:
            found, flags = found_in((target / "statistics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # damaged: it is made again
            return None
        return CaseResult(scan.case_id, str(scan.path), "skipped", str(target), found=found, flags=flags)

    def _write(self, loaded: _Loaded, segmentation: "Segmentation") -> CaseResult:
        scan = loaded.scan
        target = self._options.output / scan.case_id
        try:
            manifest = case_manifest(
                scan,
                segmentation.scan,
                loaded.series,
                sha256=loaded.sha256,
                model=self._model,
                settings=self._settings,
                run=segmentation.info,
                read_seconds=loaded.read_seconds,
                check_seconds=loaded.check_seconds,
                symptoms=loaded.symptoms,
            )
            rows = write_case(
                segmentation,
                target,
                label_space=self._options.space,
                manifest=manifest,
                overwrite=self._options.overwrite or self._options.resume,
                extra=self._dicom_seg(loaded.series, segmentation),
                report=self._options.report(segmentation.scan) if self._options.report else None,
                # With more jobs the next scan is predicted meanwhile, which the plan of this one does not count.
                threads=segmentation.info["plan"]["writers"] if self._options.jobs == 1 else 1,
            )
        except Exception as error:  # as above
            return self._failure(scan, error)
        found = tuple(row.structure for row in rows if not row.empty)
        flags = {row.structure: row.flags for row in rows if row.flags}
        seconds = round(time.perf_counter() - loaded.started, 3)
        return CaseResult(scan.case_id, str(scan.path), "done", str(target), seconds, found, flags)

    def _dicom_seg(self, series: Series | None, segmentation: "Segmentation") -> Callable[[Path], None] | None:
        if self._options.output_format != "dicom-seg" or series is None:
            return None

        def write(folder: Path) -> None:
            write_dicom_seg(segmentation, series, folder, model=self._predictor.config.name)

        return write

    def _failure(self, scan: ScanInput, error: Exception) -> CaseResult:
        if isinstance(error, SupremError):
            text = str(error)
        elif isinstance(error, MemoryError):
            text = f"{scan.path} does not fit into memory; use fewer jobs or a machine with more."
        else:
            _log.exception("%s: unexpected error", scan.path, exc_info=error)
            what = " ".join(str(error).split())
            text = f"{scan.path} failed with an unexpected {type(error).__name__} ({what}); please report it."
        return CaseResult(scan.case_id, str(scan.path), "failed", error=text, error_type=type(error).__name__)

    def _summary(self, scans: int, started: str, seconds: float) -> dict[str, Any]:
        manifest: dict[str, Any] = {
            "format": "suprem run",
            "format_version": 1,
            "started": started,
            "seconds": round(seconds, 3),
            "versions": versions(),
            "model": self._model,
            "device": str(self._predictor.device),
            "settings": self._settings,
            "complete": len(self._results) == scans,
            "cases": [asdict(case) for case in self._results],
        }
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        with atomic_path(self._options.output / "manifest.json") as temporary:
            temporary.write_text(text, encoding="utf-8")
        _write_failures(self._options.output / "failures.csv", self._results)
        return manifest


def _write_failures(path: Path, results: Iterable[CaseResult]) -> None:
    failed = [case for case in results if case.status == "failed"]
    if not failed:
        with told_of(path):
            path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("case_id", "input", "error_type", "error"))
    table.writerows((case.case_id, case.input, case.error_type, case.error) for case in failed)
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")

"""Every kind of symptom that the doctor knows, by what it examines."""

from collections.abc import Mapping
from types import MappingProxyType

from suprem.volumes.scan_checks import SCAN_CHECKS
from suprem.volumes.symptoms import Meaning

__all__ = ["CHECKPOINT_CHECKS", "CHECKS", "ENVIRONMENT_CHECKS", "SIZE_CHECKS", "STORE_CHECKS"]

SIZE_CHECKS: Mapping[str, Meaning] = MappingProxyType(
    {
        "memory": Meaning(
            "error",
            "The scan does not fit into `--max-ram`",
            "Raise --max-ram here and in `suprem predict`, crop the scan, or ask for fewer classes.",
        ),
    }
)
"""Of scans, beside :data:`~suprem.volumes.scan_checks.SCAN_CHECKS`."""

ENVIRONMENT_CHECKS: Mapping[str, Meaning] = MappingProxyType(
    {
        "versions": Meaning("info", "What is installed", "Add this line to a report of a problem."),
        "dependency": Meaning(
            "error",
            "A package is missing, or of a version that does not work",
            "Install it, for example with `pip install --upgrade suprem`.",
        ),
        "threads": Meaning(
            "warning",
            "torch would use more threads than there are processors for it",
            "Set OMP_NUM_THREADS to the number of processors.",
        ),
        "gpu": Meaning("info", "Where networks will run", "Choose with --device."),
        "gpu-unused": Meaning(
            "warning",
            "There is a GPU that torch cannot use",
            "Install the build of torch for its driver, see https://pytorch.org/get-started.",
        ),
        "memory": Meaning(
            "warning",
            "There is less memory than the default of `--max-ram`",
            "Give --max-ram less than what the machine has.",
        ),
        "shared-memory": Meaning(
            "warning",
            "Processes share little memory",
            "Train with --data.num_workers 0, or give the container more (docker run --shm-size 2g).",
        ),
        "disk": Meaning(
            "warning",
            "Little space is left",
            "Free some, or move the cache with HF_HUB_CACHE or SUPREM_CACHE.",
        ),
        "cache": Meaning(
            "error",
            "A cache cannot be written",
            "Set HF_HUB_CACHE or SUPREM_CACHE to a folder of your own.",
        ),
        "offline": Meaning(
            "info", "The network is switched off", "Unset HF_HUB_OFFLINE to download; what is cached works as it is."
        ),
        "hub": Meaning(
            "warning",
            "The Hugging Face Hub cannot be reached",
            "Check network and proxy; work with what is cached under HF_HUB_OFFLINE=1.",
        ),
    }
)
"""Of the environment."""

STORE_CHECKS: Mapping[str, Meaning] = MappingProxyType(
    {
        "store": Meaning("error", "It cannot be opened", "Do what the sentence says."),
        "empty": Meaning("error", "The index names no case", "Run `suprem data prepare`, and look at what it reports."),
        "index": Meaning(
            "error",
            "The index names cases that are not there",
            "Copy the store again, or run `suprem data prepare` again.",
        ),
        "not-indexed": Meaning(
            "warning",
            "Finished cases are missing from the index",
            "Let `suprem data prepare` finish: training would not see them.",
        ),
        "case": Meaning("error", "A case is damaged", "Prepare or copy it again."),
        "case-spacing": Meaning(
            "error", "A case has another spacing than the store", "Prepare the case again with the store's settings."
        ),
        "case-scan": Meaning(
            "warning",
            "The CT of a case shows what a scan can show",
            "Look at the original scan with `suprem doctor`; leave the case out if it is true.",
        ),
        "sampled": Meaning(
            "info", "Only some cases were read", "Read all with `suprem data verify`, or more with --cases."
        ),
    }
)
"""Of stores."""

CHECKPOINT_CHECKS: Mapping[str, Meaning] = MappingProxyType(
    {
        "checkpoint": Meaning("error", "It cannot be found, fetched or read", "Do what the sentence says."),
        "check-failed": Meaning(
            "error",
            "A check of `suprem zoo verify` failed",
            "Do not use these weights: fetch or convert them again.",
        ),
        "no-digest": Meaning(
            "warning",
            "No digest or recorded output to compare with",
            "Know where the file comes from: nothing here can tell whether it is the one you mean.",
        ),
        "preprocessing": Meaning(
            "warning",
            "No preprocessing is recorded",
            "SuPreM's is assumed; compare it with how the network was trained.",
        ),
        "headless": Meaning(
            "info", "The weights have no output layer of use", "Fine-tune them; they cannot predict as they are."
        ),
    }
)
"""Of checkpoints."""

CHECKS: Mapping[str, Mapping[str, Meaning]] = MappingProxyType(
    {
        "scan": MappingProxyType({**SCAN_CHECKS, **SIZE_CHECKS}),
        "environment": ENVIRONMENT_CHECKS,
        "store": STORE_CHECKS,
        "checkpoint": CHECKPOINT_CHECKS,
    }
)
"""What is examined -> code -> what it means."""

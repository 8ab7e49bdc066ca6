"""Review: cases go out to people, and what they have changed comes back.

::

    atlas/review/0001/<dataset>__<case>/           what a person gets: CT, labels, where to look, ticket.json
    atlas/review/0001/handed_out/<dataset>/<case>/ the labels as they were then (suprem.atlas.label_set)
    atlas/revisions/<dataset>/<case>/0001/         what a person has changed
    atlas/revisions/<dataset>/<case>/conflicts/    what waits for a decision

Events in the journal: ``export``, ``revision`` (also of a review that changed nothing, then without a number),
``conflict``, and ``decision`` where the labels of a conflict were dropped.
"""

from suprem.atlas._review_conflicts import Conflict, open_conflicts, resolve
from suprem.atlas._review_export import Handout, export_cases
from suprem.atlas._review_import import ImportOutcome, import_case, import_cases
from suprem.atlas._review_queue import ReviewRow, StopReport, review_rows, stop_report

__all__ = [
    "Conflict",
    "Handout",
    "ImportOutcome",
    "ReviewRow",
    "StopReport",
    "export_cases",
    "import_case",
    "import_cases",
    "open_conflicts",
    "resolve",
    "review_rows",
    "stop_report",
]

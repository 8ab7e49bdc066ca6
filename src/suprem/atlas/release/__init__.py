"""A release of an atlas: a folder that others can use, and what can be done with it."""

from suprem.atlas.release.build import ReleaseReport, release_atlas
from suprem.atlas.release.plan import ReleaseOptions

__all__ = ["ReleaseOptions", "ReleaseReport", "release_atlas"]

"""Growing a dataset: models annotate, a score picks what people look at, their revisions teach the models.

One folder, the *atlas*, holds all of it; :mod:`suprem.atlas.workspace` describes it.
"""

"""Property tests try the same examples in every run, so a red build stays red until it is mended."""

from hypothesis import settings

settings.register_profile("hiper", derandomize=True, deadline=None)
settings.load_profile("hiper")

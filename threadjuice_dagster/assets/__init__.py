"""The newsroom's assets: a folder for each group of the UI, and in it a file for each asset with its checks beside it.

An asset fetches, calls the layers below, returns a result and reports metadata. No rule and no SQL belongs here.
"""

import gc
import warnings

import dagster as dg

gc.freeze()  # Dagster's objects live as long as the process: to look for garbage among them takes a third of a second

# Code references are in beta, and every process with the code location would say so.
warnings.filterwarnings("ignore", r"Class `\w*CodeReference", dg.BetaWarning)

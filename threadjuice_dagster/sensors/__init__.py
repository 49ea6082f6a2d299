"""What starts a run when something happens. Every sensor in this folder is loaded, and runs by default.

They run on a developer's machine too, so that an assignment made in the UI is written.
"""

"""Charts and pages: frames in, HTML out. The live pages, the files of `--plot` and `.plot()` use the same."""

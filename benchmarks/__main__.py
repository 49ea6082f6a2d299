"""Run every benchmark and print its figures: ``make bench``."""

from benchmarks import load, story

if __name__ == "__main__":
    load.main()
    story.main()

"""Measure how long it takes to encode 10,000 sentences into padded arrays, beside transformers.

    python benches/encoding.py
    python benches/encoding.py --peers-python some-venv/bin/python      # where transformers lives

The tokenizers are MiniLM's (WordPiece) and small ones of the other kinds from the tests' fixtures. Sentences
are of 5 to 40 words, drawn once. The results are encoding.json, encoding.md and encoding.png in
benches/results.
"""

import sys

import comparison
import report
from encoding_workloads import SENTENCES, names
from figures import Figure, side_by_side
from harness import Subject

NAMES = ("ours", "transformers")


def main() -> None:
    options = comparison.parser(__doc__, rounds=7, seconds=2.0).parse_args()
    described = comparison.described_machine()
    settings = {"threads": options.threads}
    pythons = {"ours": sys.executable, "transformers": options.peers_python}
    subjects, versions = comparison.present(
        Subject(f"encoding_{name}", pythons[name], settings) for name in NAMES
    )
    figures = side_by_side(subjects, options.rounds, options.seconds, figure)
    labels = {name: comparison.label(f"encoding_{name}") for name in NAMES}
    about = comparison.about(described, versions, options, sentences=SENTENCES)
    print(report.write(figures, about, labels, options.results, "encoding", "Encoding text"))


def figure(name: str) -> Figure | None:
    """One row: ours shall be at least 1.3 times as fast."""
    if name not in names():
        return None
    return Figure(name, "ms").times_less_than("transformers", "transformers", 1.3)


if __name__ == "__main__":
    main()

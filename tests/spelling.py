"""`python -m tests.spelling`: words in the documents that no dictionary knows.

Checks every Markdown file that git tracks, without code, links and names in code style. The words
of the field and of this project that the English dictionary of pyspellchecker lacks are listed in
`docs/words.txt`, one a line, in lower case and sorted.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from spellchecker import SpellChecker

ROOT = Path(__file__).resolve().parents[1]
WORDS = ROOT / "docs" / "words.txt"

_CODE_BLOCK = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
_LEFT_OUT = re.compile(
    r"<!--.*?-->"  # comments
    r"|`[^`]*`"  # code
    r"|\]\([^)]*\)"  # targets of links
    r"|<?https?://\S+"
    r"|\S*[\d_/\\@=]\S*",  # numbers with units, names of files and settings
    re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z][A-Za-z'\u2019]*")


def unknown_words(text: str, known: frozenset[str]) -> list[tuple[int, str]]:
    """Line and word of each unknown word of a Markdown text.

    Parameters
    ----------
    text
        A Markdown document.
    known
        Further words, in lower case.
    """
    # Blank lines in place of what is left out keep the numbers of the lines.
    prose = _CODE_BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    prose = _LEFT_OUT.sub(lambda part: " " + "\n" * part[0].count("\n"), prose)
    words = list(_words(prose))
    unknown = _dictionary().unknown({word for _, word in words}) - known
    return [(line, word) for line, word in words if word in unknown]


def _words(prose: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(prose.splitlines(), 1):
        for match in _WORD.finditer(line):
            word = match[0].replace("\u2019", "'").strip("'").removesuffix("'s").lower()
            if len(word) > 2 and not match[0].isupper():
                yield number, word


def _dictionary() -> SpellChecker:
    return SpellChecker(language="en", distance=1)


def main() -> None:
    """Print what is unknown; exit code 1 if there is any, or if the word list is out of order."""
    listed = WORDS.read_text(encoding="utf-8").split()
    problems = []
    if listed != sorted({word.lower() for word in listed}):
        problems.append(f"{WORDS.relative_to(ROOT)}: not sorted, or a word twice or in upper case")
    tracked = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in tracked.stdout.split("\n") if name]
    for path in files:
        text = path.read_text(encoding="utf-8")
        problems += [
            f"{path.relative_to(ROOT)}:{line}: {word}"
            for line, word in unknown_words(text, frozenset(listed))
        ]
    if problems:
        print(*problems, sep="\n")
        print("Correct the spelling, or add the word to docs/words.txt.", file=sys.stderr)
        raise SystemExit(1)
    print(f"{len(files)} documents: no unknown word")


if __name__ == "__main__":
    main()

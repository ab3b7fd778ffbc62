"""What the demo looks like: colour on a terminal, plain when piped."""
import os
import sys
import time

COLOUR = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and "NO_COLOR" not in os.environ
CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
STARTED = time.monotonic()


def paint(text, *styles):
    return f"\033[{';'.join(CODES[s] for s in styles)}m{text}\033[0m" if COLOUR else text


def say(text="", *styles):
    print(paint(text, *styles) if styles else text, flush=True)


def heading(number, text):
    say()
    say(f"{number}. {text}", "bold")


def command(who, argv):
    say(f"   {who}$ " + " ".join(f"'{a}'" if " " in a else a for a in argv), "cyan")


def output(text):
    for line in text.rstrip("\n").splitlines():
        say("   " + line)


def note(text):
    say("   " + text, "dim")


def table(rows):
    """rows of equal length; the first is the head."""
    widths = [max(len(str(r[i])) for r in rows) for i in range(len(rows[0]))]
    for n, row in enumerate(rows):
        line = "   " + "  ".join(str(c).ljust(w) for c, w in zip(row, widths))
        styles = ["bold"] if n == 0 else ["red"] if "failed" in row else ["dim"] if "not run" in row else []
        say(line.rstrip(), *styles)


def megabytes(n):
    return f"{n / 1e6:.1f} MB"


def elapsed():
    return time.monotonic() - STARTED

"""PROVENANCE: where the files of a folder come from, and their sha256."""
import hashlib
import importlib.metadata
from datetime import date
from pathlib import Path

OURS = "Apache-2.0: random numbers and text of our own"


def versions(*names):
    return ", ".join(f"{n} {importlib.metadata.version(n)}" for n in names)


def write(folder, program, command, seed="none", licence=OURS, notes=(), part="", names=()):
    """Describe every file below folder; its former PROVENANCE is replaced, the date kept if no file changed.

    A second script that writes into the folder gives part and the names of its files and folders there: PROVENANCE.part
    describes those alone, and PROVENANCE all that no other such file describes.
    """
    folder = Path(folder)
    out = folder / ("PROVENANCE." + part if part else "PROVENANCE")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("PROVENANCE"))
    if part:
        files = [p for p in files if p.relative_to(folder).parts[0] in names]
    else:
        others = {line[66:] for p in folder.glob("PROVENANCE.*") for line in p.read_text().splitlines() if line[64:66] == "  "}
        files = [p for p in files if p.relative_to(folder).as_posix() not in others]
    sums = "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files)
    old = out.read_text() if out.exists() else ""
    day = old.split("date:    ")[1][:10] if "date:    " in old and old.endswith("\n" + sums) else date.today().isoformat()
    text = f"program: {program}\ncommand: {command}\ndate:    {day}\nseed:    {seed}\nlicence: {licence}\n"
    text += "".join(f"note:    {n}\n" for n in notes)
    out.write_text(text + "\nsha256:\n" + sums)
